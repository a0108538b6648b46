//! What the service manager is told (systemd's `Type=notify`, sd_notify(3)), and the sockets that it hands over
//! (sd_listen_fds(3)). Without one nothing here does anything.

use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::edge::Inherited;

/// The sockets that the service manager has bound. To be asked once, before there are threads.
#[must_use]
pub fn sockets() -> Inherited {
    let mut inherited = Inherited::default();
    let mut given = ListenFd::from_env();
    for index in 0..given.len() {
        if let Ok(Some(socket)) = given.take_tcp_listener(index) {
            inherited.add(None, socket);
        }
    }
    inherited
}

/// The gateway serves, or serves again after [`reloading`].
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// Another configuration is about to be put into force.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The gateway stops, and will within this time; `None`: whenever the last request has finished.
pub fn stopping(within: Option<Duration>) {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping: requests in flight finish"),
    ]);
    let micros = within.and_then(|within| u32::try_from(within.as_micros()).ok());
    if let Some(micros) = micros {
        tell(&[NotifyState::ExtendTimeoutUsec(micros)]);
    }
}

/// Another process is the service from now on.
pub fn replaced_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid), NotifyState::Ready]);
}

/// Says at half the interval that the gateway lives, if the service manager wants to hear it: from a task, so that it is
/// heard only as long as tasks run.
pub fn keep_watchdog_quiet() {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    tokio::spawn(async move {
        let mut beat = tokio::time::interval((interval / 2).max(Duration::from_millis(1)));
        loop {
            beat.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    });
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
