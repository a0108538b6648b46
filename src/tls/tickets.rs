//! Session tickets (RFC 8446 §4.6.1, RFC 5077): a client that comes back need not pay for a whole handshake.
//!
//! Their keys come from one secret and the time, so that they change by themselves, and whoever has the secret can read
//! the tickets of the others: a process after a restart, several gateways behind one address.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use tokio_rustls::rustls::server::ProducesTickets;

use super::pem;

/// Seconds that a key seals tickets for; for as long again it opens them.
const PERIOD: u64 = 6 * 3600;
/// Smallest secret, bytes.
const SECRET_MIN: usize = 32;
/// Largest ticket that is looked at, bytes: a chain of client certificates is in it.
const TICKET_MAX: usize = 16 * 1024;

/// What the keys of tickets are made from.
#[derive(Clone)]
pub struct Tickets {
    prk: Arc<hkdf::Prk>,
    /// Where no file has it: so that another process can have it.
    own: Option<[u8; SECRET_MIN]>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// Why a file is no secret.
#[derive(Debug)]
pub struct TicketFault(pub String);

impl fmt::Display for TicketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TicketFault {}

impl Tickets {
    /// From a secret that nobody else has.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn random() -> Result<Self, TicketFault> {
        let mut secret = [0; SECRET_MIN];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| TicketFault("the system has no random numbers".to_owned()))?;
        Ok(Self::of(&secret, Some(secret)))
    }

    /// From the secret of a process before this one; `None`: it is none.
    pub(crate) fn restore(secret: &[u8]) -> Option<Self> {
        let secret: [u8; SECRET_MIN] = secret.try_into().ok()?;
        Some(Self::of(&secret, Some(secret)))
    }

    /// The secret, where it is only this process'.
    pub(crate) fn secret(&self) -> Option<&[u8]> {
        self.own.as_ref().map(<[u8; SECRET_MIN]>::as_slice)
    }

    /// From the secret in a file, at least 32 bytes of it.
    ///
    /// # Errors
    /// The file cannot be read or is too short.
    pub fn load(path: &Path) -> Result<Self, TicketFault> {
        let secret = pem::read(path).map_err(|fault| TicketFault(fault.cause()))?;
        if secret.trim_ascii().len() < SECRET_MIN {
            return Err(TicketFault(format!("it has fewer than {SECRET_MIN} bytes")));
        }
        Ok(Self::of(secret.trim_ascii(), None))
    }

    fn of(secret: &[u8], own: Option<[u8; SECRET_MIN]>) -> Self {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"gateway tickets").extract(secret);
        Self {
            prk: Arc::new(prk),
            own,
        }
    }

    /// Tickets of one kind: what one seals only the same kind opens, so that a session in which a client has shown who it
    /// is, or need not, is never taken up where other rules hold.
    #[must_use]
    pub fn kind(&self, kind: u64) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer {
            tickets: self.clone(),
            kind,
        })
    }

    /// The key of a period.
    fn key(&self, kind: u64, period: u64) -> Option<LessSafeKey> {
        let (kind, period) = (kind.to_be_bytes(), period.to_be_bytes());
        let info = [b"ticket".as_slice(), &kind, &period];
        let okm = self.prk.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

struct Ticketer {
    tickets: Tickets,
    kind: u64,
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

impl Ticketer {
    fn seal(&self, plain: &[u8], period: u64) -> Option<Vec<u8>> {
        let key = self.tickets.key(self.kind, period)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        // The period's last bits say which of two keys it is, which anybody may know.
        ticket.push(mark(period));
        ticket.extend_from_slice(&nonce);
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).ok()?;
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], period: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_MAX {
            return None;
        }
        let (&marked, rest) = ticket.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        // The next one too: clocks of several gateways differ.
        let of = [period, period.wrapping_sub(1), period.wrapping_add(1)]
            .into_iter()
            .find(|&period| mark(period) == marked)?;
        let key = self.tickets.key(self.kind, of)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.open_in_place(nonce, Aad::empty(), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

fn mark(period: u64) -> u8 {
    (period % 251) as u8
}

fn period() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs()) / PERIOD
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, period())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, period())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticketer(secret: &[u8], kind: u64) -> Ticketer {
        Ticketer {
            tickets: Tickets::of(secret, None),
            kind,
        }
    }

    #[test]
    fn whoever_has_the_secret_opens_tickets_for_two_periods() {
        let one = ticketer(&[1; 32], 0);
        let other = ticketer(&[1; 32], 0);
        let ticket = one.seal(b"a session", 1000).unwrap();
        for (period, opens) in [
            (998, false),
            (999, true),
            (1000, true),
            (1001, true),
            (1002, false),
            (1251, false),
        ] {
            assert_eq!(other.open(&ticket, period).is_some(), opens, "{period}");
        }
        assert_eq!(other.open(&ticket, 1000).as_deref(), Some(b"a session".as_slice()));
        assert!(ticketer(&[2; 32], 0).open(&ticket, 1000).is_none(), "another secret");
        assert!(ticketer(&[1; 32], 7).open(&ticket, 1000).is_none(), "another kind");
        assert_ne!(one.seal(b"a session", 1000).unwrap(), ticket, "never the same twice");
    }

    #[test]
    fn a_secret_has_a_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "short\n").unwrap();
        assert!(Tickets::load(&path).unwrap_err().to_string().contains("fewer than 32"));
        std::fs::write(&path, "x".repeat(32)).unwrap();
        assert!(Tickets::load(&path).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_but_a_ticket_opens(garbage in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let one = ticketer(&[1; 32], 0);
            prop_assert!(one.open(&garbage, 5).is_none());
            let mut ticket = one.seal(b"a session", 5).unwrap();
            let at = at.index(ticket.len());
            ticket[at] ^= 1;
            prop_assert!(one.open(&ticket, 5).is_none());
        }
    }
}
