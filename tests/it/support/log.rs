//! What the gateway's own log says, of all gateways in this process: tests look for names that only they use.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn lines() -> &'static Lines {
    static LINES: OnceLock<Lines> = OnceLock::new();
    LINES.get_or_init(|| {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(lines.clone());
        let _ = subscriber.try_init();
        lines
    })
}

/// From now on the log is kept.
pub(crate) fn keep() {
    lines();
}

/// Every line so far that contains this.
pub(crate) fn lines_with(word: &str) -> Vec<String> {
    let bytes = lines().0.lock().expect("log").clone();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines()
        .filter(|line| line.contains(word))
        .map(str::to_owned)
        .collect()
}
