//! Processes that take the machine's cores: each spins for a bounded time, and ends with the value that started it.

use std::time::{Duration, Instant};

use kit::process::{Helper, binary, command_with_clean_env};

/// Busy loops per core.
const LOOPS_PER_CORE: usize = 2;

/// Running busy loops.
pub(crate) struct Busy {
    _processes: Vec<Helper>,
}

impl Busy {
    /// Starts the busy loops; each ends by itself after this time.
    ///
    /// # Panics
    /// A process cannot be started.
    pub(crate) fn start(length: Duration) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let mut command = command_with_clean_env(binary("chaos"));
            command.args(["busy", "--seconds", &length.as_secs().to_string()]);
            Helper::start(&mut command).expect("this program can be started again")
        };
        Self {
            _processes: (0..LOOPS_PER_CORE * cores).map(start).collect(),
        }
    }
}

/// Spins for this time.
pub fn spin(length: Duration) {
    let began = Instant::now();
    while began.elapsed() < length {
        std::hint::spin_loop();
    }
}
