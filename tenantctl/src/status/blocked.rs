//! Turns conditions of Kubernetes objects into a reason and the command that mends it. Pure.
