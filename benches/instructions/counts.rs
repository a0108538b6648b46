//! The file with the counts.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::process::Command;

use serde::Deserialize;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/counts.toml");

/// What was counted, and by what.
#[derive(Deserialize)]
pub(crate) struct Counts {
    pub(crate) machine: Machine,
    /// Instructions, by case.
    pub(crate) counts: BTreeMap<String, u64>,
}

/// What the counts depend on beside the code.
#[derive(Deserialize, PartialEq, Eq)]
pub(crate) struct Machine {
    rustc: String,
    valgrind: String,
    /// Who made it, and those of its abilities by which the C library chooses its routines.
    cpu: String,
}

impl Counts {
    pub(crate) fn none(machine: Machine) -> Self {
        Self {
            machine,
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        Ok(toml::from_str(&text).map_err(|error| format!("{FILE}: {error}"))?)
    }

    pub(crate) fn write(&self) -> Result<(), Box<dyn Error>> {
        let Machine { rustc, valgrind, cpu } = &self.machine;
        let mut text = format!(
            "# Instructions in user space, each case once: `cargo bench --profile count --bench instructions -- --write`.\n\n\
             [machine]\nrustc = \"{rustc}\"\nvalgrind = \"{valgrind}\"\ncpu = \"{cpu}\"\n\n[counts]\n"
        );
        for (name, count) in &self.counts {
            writeln!(text, "{name} = {count}")?;
        }
        Ok(std::fs::write(FILE, text)?)
    }
}

impl Machine {
    pub(crate) fn this() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            rustc: said("rustc")?,
            valgrind: said("valgrind")?,
            cpu: cpu(&std::fs::read_to_string("/proc/cpuinfo")?),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}, {}", self.rustc, self.valgrind, self.cpu)
    }
}

fn cpu(told: &str) -> String {
    let values = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map_or("", |(_, values)| values)
    };
    let flags = values("flags").split(' ');
    let known = flags.filter(|flag| ["avx2", "erms", "fsrm"].contains(flag));
    let words: Vec<&str> = [values("vendor_id")].into_iter().chain(known).collect();
    words.join(" ")
}

/// The version of a program.
fn said(program: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let line = String::from_utf8(output.stdout)?;
    Ok(line.lines().next().unwrap_or_default().to_owned())
}
