//! The common routes over a registry in memory.
