//! What the operating system knows of this process.

use std::fs;

/// Resident memory, bytes; `None` where `/proc` does not tell.
#[must_use]
pub fn resident_memory() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// proc_pid_status(5): `VmRSS:     1234 kB`. Unlike `statm` it needs no page size.
fn resident_in(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        for (status, expected) in [
            ("Name:\tgateway\nVmHWM:\t  900 kB\nVmRSS:\t  512 kB\n", Some(524_288)),
            ("VmRSS:\t1\n", None),
            ("VmRSS:\t-1 kB\n", None),
            ("VmRSS:\t18446744073709551615 kB\n", None),
            ("", None),
        ] {
            assert_eq!(resident_in(status), expected, "{status:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory() {
        assert!(resident_memory().is_some_and(|bytes| bytes > 0));
    }
}
