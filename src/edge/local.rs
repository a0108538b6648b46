//! A listener at a socket in the file system, for operators on this machine: whoever may open it may ask.
//!
//! It is bound beside its place and moved there when it accepts. So the place is never empty while one gateway replaces
//! another, what a killed one left behind is in nobody's way, and what fails before leaves what was there.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::accept_all;
use super::gate::Gate;
use super::observer::Observer;

/// Who may open it: the gateway's own user.
const MODE: u32 = 0o600;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// A socket beside its place that is older than this is of a gateway that was killed before it accepted.
const STALE: Duration = Duration::from_secs(60);

/// A socket that could not be bound, with its cause and its cure.
#[derive(Debug)]
pub struct LocalError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "cannot listen on unix:{path}: ")?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "another process answers there.\nhelp: `fuser {path}` shows which; stop it, or give another path in \
                 `[admin] listen`"
            ),
            io::ErrorKind::AlreadyExists => write!(
                f,
                "something is there that is no socket, and is left alone.\nhelp: give another path in `[admin] listen`"
            ),
            io::ErrorKind::NotFound => f.write_str(
                "its directory is not there.\nhelp: make it, the gateway's to write; with systemd: \
                 `RuntimeDirectory=gateway` for /run/gateway",
            ),
            io::ErrorKind::PermissionDenied => {
                f.write_str("this user may not write to its directory.\nhelp: make it a directory of the gateway's own")
            }
            _ => write!(f, "{}", self.source),
        }
    }
}

impl std::error::Error for LocalError {}

/// A socket that is bound beside its place and does not accept yet.
#[derive(Debug)]
pub struct BoundLocal {
    socket: UnixListener,
    path: PathBuf,
    /// Where it is until it accepts.
    beside: PathBuf,
}

impl BoundLocal {
    /// Binds it. `replaces`: a gateway that answers there is the one that this one replaces.
    ///
    /// # Errors
    /// [`LocalError`]
    pub fn bind(path: &Path, replaces: bool) -> Result<Self, LocalError> {
        bind(path, replaces).map_err(|source| LocalError {
            path: path.to_owned(),
            source,
        })
    }
}

fn bind(path: &Path, replaces: bool) -> io::Result<BoundLocal> {
    match fs::symlink_metadata(path) {
        Ok(about) if !about.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if !replaces && answers(path) => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    sweep(path);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // Of a process that had this number and was killed at this moment.
    let _ = fs::remove_file(&beside);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&beside)?)?;
    let bound = BoundLocal {
        socket: socket.into(),
        path: path.to_owned(),
        beside,
    };
    // Before it listens: until then nobody can connect, whatever the mask made of it.
    fs::set_permissions(&bound.beside, fs::Permissions::from_mode(MODE))?;
    socket2::SockRef::from(&bound.socket).listen(BACKLOG)?;
    bound.socket.set_nonblocking(true)?;
    Ok(bound)
}

/// Takes away what gateways left that were killed between binding and accepting. Each has a name of its own: they would
/// gather.
fn sweep(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let left = entry.file_name();
        let number = left
            .to_str()
            .and_then(|left| left.strip_prefix(name)?.strip_prefix('.'));
        let is_ours = number.is_some_and(|number| number.parse::<u32>().is_ok());
        let is_stale = |about: &fs::Metadata| {
            let age = about.modified().ok().and_then(|at| at.elapsed().ok());
            about.file_type().is_socket() && age.is_some_and(|age| age > STALE)
        };
        if is_ours && entry.metadata().is_ok_and(|about| is_stale(&about)) && !answers(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether another process listens there; one that is too busy to accept listens, too.
fn answers(path: &Path) -> bool {
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    match connect() {
        Ok(()) => true,
        Err(error) => io::Error::kind(&error) == io::ErrorKind::WouldBlock,
    }
}

impl Drop for BoundLocal {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.beside);
    }
}

/// A socket in the file system that accepts.
#[derive(Debug)]
pub(super) struct Local {
    path: PathBuf,
    /// Device and number of its file: another process may have put its own there.
    file: Option<(u64, u64)>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Local {
    /// Takes its place and accepts. Must be called within a tokio runtime.
    pub(super) fn accept<A, O>(bound: BoundLocal, gate: Gate<A, O>) -> io::Result<Self>
    where
        A: HttpServerApp + Send + Sync + 'static,
        O: Observer,
    {
        let listener = tokio::net::UnixListener::from_std(bound.socket.try_clone()?)?;
        fs::rename(&bound.beside, &bound.path)?;
        let (stop, stopping) = watch::channel(false);
        let gate = Arc::new(gate);
        Ok(Self {
            path: bound.path.clone(),
            file: file_at(&bound.path),
            stop,
            accepting: tokio::spawn(async move {
                let serve = |(stream, _), stopping| Arc::clone(&gate).serve_local(stream, stopping);
                accept_all(|cx| listener.poll_accept(cx), serve, stopping).await;
            }),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether whoever connects to its place connects to it.
    pub(super) fn is_in_place(&self) -> bool {
        self.file.is_some() && file_at(&self.path) == self.file
    }

    /// Accepts no more. Its place is empty then, unless another process has taken it.
    pub(super) async fn stop(self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
        self.stop.send_replace(true);
        let _ = self.accepting.await;
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.dev(), about.ino()))
}
