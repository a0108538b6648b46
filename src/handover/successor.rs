//! The side of the process that serves: it starts the one that is to replace it, and believes it only when it says that
//! it serves.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::{Offer, PROTOCOL, Reply, Socket, VARIABLE};
use crate::edge::Role;
use crate::runtime::Keepsakes;

/// How long the new process may take until it serves.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a process that has closed the channel may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the service manager says to one process only.
const NOT_FOR_OTHERS: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"];

/// Why the process that runs runs on.
#[derive(Debug)]
pub enum UpgradeError {
    /// A container ends with this process.
    FirstProcess,
    /// The binary cannot be started.
    Start(PathBuf, io::Error),
    /// The new process says why it does not serve.
    Failed(String),
    /// It ended without a word.
    Ended(String),
    /// It took too long.
    Late,
    /// The sockets cannot be handed over.
    Channel(io::Error),
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstProcess => f.write_str(
                "this process is the first of its container, which ends with it: start a container of the new version \
                 beside this one, and stop this one when that one is ready",
            ),
            Self::Start(binary, error) => write!(f, "{} cannot be started: {error}", binary.display()),
            Self::Failed(why) => write!(f, "the new process does not serve: {why}"),
            Self::Ended(how) => write!(f, "the new process ended before it served ({how}): its log says why"),
            Self::Late => write!(f, "the new process did not serve within {PATIENCE:?}, and was ended"),
            Self::Channel(error) => write!(f, "the sockets cannot be handed over: {error}"),
        }
    }
}

impl std::error::Error for UpgradeError {}

/// The process that replaces this one; it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// How this process was started, so that another one can be started so. To be called at the start: by the time of an
/// upgrade another file has the name.
pub fn remember_how_this_was_started() {
    let _ = STARTED_AS.set(started_as());
}

static STARTED_AS: OnceLock<Option<PathBuf>> = OnceLock::new();

/// The name that was called, so that a link that is switched over leads to the new version.
fn started_as() -> Option<PathBuf> {
    let called = PathBuf::from(std::env::args_os().next()?);
    if called.components().count() > 1 {
        return std::path::absolute(called).ok();
    }
    std::env::current_exe().ok()
}

impl Successor {
    /// Starts the binary of the same name with the same arguments, hands everything over, and waits until it serves.
    /// Blocks. Where it fails nothing has changed, and no process is left.
    ///
    /// # Errors
    /// [`UpgradeError`]
    pub fn start(sockets: Vec<(Role, SocketAddr, OwnedFd)>, keepsakes: Keepsakes) -> Result<Self, UpgradeError> {
        if std::process::id() == 1 {
            return Err(UpgradeError::FirstProcess);
        }
        let (here, there) = Channel::pair().map_err(UpgradeError::Channel)?;
        let about = sockets.iter().map(|&(role, wanted, _)| Socket { role, wanted });
        let mut offer = Offer {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sockets: about.collect(),
            keepsakes,
        };
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, _, socket)| socket.as_fd()).collect();
        if send(&here, &offer, &fds).is_err() {
            // Sockets matter more than what is kept beside them.
            offer.keepsakes = Keepsakes::default();
            send(&here, &offer, &fds).map_err(UpgradeError::Channel)?;
        }
        let binary = STARTED_AS.get().cloned().flatten().unwrap_or_default();
        let mut child = spawn(&binary, there).map_err(|error| UpgradeError::Start(binary, error))?;
        match here.receive(Instant::now() + PATIENCE, 0) {
            Ok(Some(message)) => match serde_json::from_slice(&message.text) {
                Ok(Reply::Ready { version }) => {
                    let pid = child.id();
                    // It may end before this process does: nobody else would take note.
                    std::thread::spawn(move || child.wait());
                    Ok(Self { pid, version })
                }
                Ok(Reply::Failed(why)) => {
                    end(&mut child);
                    Err(UpgradeError::Failed(why))
                }
                Err(_) => {
                    end(&mut child);
                    Err(UpgradeError::Failed(
                        "it says what this version does not understand".to_owned(),
                    ))
                }
            },
            Ok(None) => Err(UpgradeError::Ended(end(&mut child))),
            Err(error) => {
                end_now(&mut child);
                Err(match error.kind() {
                    io::ErrorKind::TimedOut => UpgradeError::Late,
                    _ => UpgradeError::Channel(error),
                })
            }
        }
    }
}

fn send(channel: &Channel, offer: &Offer, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    channel.send(&serde_json::to_vec(offer)?, fds)
}

fn spawn(binary: &Path, channel: Channel) -> io::Result<Child> {
    let mut command = Command::new(binary);
    for name in NOT_FOR_OTHERS {
        command.env_remove(name);
    }
    command
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, PROTOCOL.to_string())
        .stdin(Stdio::from(channel.into_fd()))
        .spawn()
}

/// Waits for a process that is about to end; how it ended.
fn end(child: &mut Child) -> String {
    let give_up = Instant::now() + LAST_WORDS;
    while Instant::now() < give_up {
        if let Ok(Some(status)) = child.try_wait() {
            return status.to_string();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    end_now(child)
}

fn end_now(child: &mut Child) -> String {
    let _ = child.kill();
    match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}
