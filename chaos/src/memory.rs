//! Memory and descriptors of a process, from `/proc`.

/// Resident memory of a process in bytes; 0 if it has ended.
pub fn resident_bytes(id: u32) -> u64 {
    kit::process::status_bytes(id, "VmRSS").unwrap_or_default()
}

/// Open file descriptors of a process.
pub fn open_files(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let id = std::process::id();
        assert!(resident_bytes(id) > 1 << 20 && open_files(id) > 2);
        assert_eq!((resident_bytes(0), open_files(0)), (0, 0));
    }
}
