//! The whole sender and the whole receiver against a simulated SQS, in virtual time: one scenario per seed, thousands of
//! seeds.
//!
//! Everything from the public API of sender and receiver down to the SDK's serialization is production code; only the socket
//! is replaced. The socket leads to a model of SQS (`world`). The seed decides its latencies, refusals, lost answers and
//! double deliveries. All events go to a trace (`trace`). Pure functions (`sender/checker`, `receiver/checker`) check the
//! promises of sender and receiver against the trace. The checkers are tested, too: on traces with an injected fault, and on
//! a receiver that deletes too early.
//!
//! A failing seed prints its number and the end of its trace. `SIMULATION_SEEDS=100000` sets the number of seeds,
//! `SIMULATION_SEED=17` runs one seed alone.
//!
//! A seed decides the model's behavior and the jitter of sender and receiver. A seed does not decide which of several ready
//! `select!` branches runs first, because stable tokio has no setting for that. So a seed that runs alone runs many times.

mod receiver;
mod seeds;
mod sender;
mod trace;
mod world;
