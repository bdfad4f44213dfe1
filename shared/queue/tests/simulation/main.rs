//! The whole sender and the whole receiver against a simulated SQS, in virtual time: one scenario per seed, thousands of
//! seeds.
//!
//! Everything from the engines' public API down to the SDK's serialization is production code; only the socket is replaced.
//! Behind the socket is a model of SQS (`world`). The seed decides its latencies, refusals, lost answers and double
//! deliveries. All events go to a trace (`trace`). Pure functions (`sender/checker`, `receiver/checker`) check the engines'
//! promises against the trace. The checkers are tested, too: on traces with a planted fault, and on a receiver that deletes
//! too early.
//!
//! A failing seed prints its number and the end of its trace. `SIMULATION_SEEDS=100000` sets the number of seeds,
//! `SIMULATION_SEED=17` runs one seed alone.
//!
//! A seed decides the model's behavior and the engines' jitter. It does not decide which of several ready `select!` branches
//! runs first, because stable tokio does not let us. So a seed that runs alone runs many times.

mod receiver;
mod seeds;
mod sender;
mod trace;
mod world;
