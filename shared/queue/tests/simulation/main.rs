//! The whole sender and the whole receiver against a simulated SQS, under virtual time: thousands of seeds, each a
//! story of its own.
//!
//! Everything from the engines' public API down to the SDK's serialisation is what production runs; only the socket is
//! replaced. Behind it stands a model of SQS (`world`) that is late, refuses, loses answers before and after they took
//! effect, and delivers twice, as one seed decides. What happened is written down (`trace`); what was promised is
//! checked against that afterwards by pure functions (`sender/judge`, `receiver/judge`), which are themselves tested:
//! on traces that were tampered with, and on a receiver that deletes too early.
//!
//! A failing seed prints its number and the end of its trace. Two variables say which seeds run:
//! `SIMULATION_SEEDS=100000` how many, `SIMULATION_SEED=17` one alone.
//!
//! A seed decides what the world does and when, and the engines' jitter. It does not decide the one thing stable tokio
//! keeps to itself: which of several ready `select!` branches goes first. So a seed run alone is run many times.

mod receiver;
mod seeds;
mod sender;
mod trace;
mod world;
