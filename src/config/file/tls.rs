//! `[tls]`

use std::net::SocketAddr;

use crate::config::file::http::FieldName;
use crate::config::file::net::{Announcers, Proxies};
use crate::config::list::{List, OneOrMore};
use crate::config::named::Pairs;
use crate::config::table::table;
use crate::config::text::{FilePath, Written};
use crate::config::units::{Rate, Timeout};
use crate::config::value::{Either, Integer};
use crate::config::words::words;

table! {
    /// Where clients connect with TLS. Needs a `[[certificate]]`.
    pub struct Tls {
        /// The addresses to listen on, for TLS.
        default listen: List<Written<SocketAddr>> = "[]",
        /// Whose connections begin with a header of the PROXY protocol (v1 or v2), before TLS: as in `[server]`.
        optional proxy_protocol: Either<OneOrMore<Written<Proxies>>, Announcers> => "nobody's",
        /// Whether everything that arrives in clear text is sent to https with 308; `/health` and what is below
        /// `/.well-known/acme-challenge/` aside.
        default redirect_http: bool = "false",
        /// The port that clients are sent to by `redirect_http`, where it is not the one that is listened on.
        optional public_port: Integer<1, 65535> => "that of the first address of `listen`",
        /// The oldest version that is spoken.
        default min_version: MinVersion = "\"1.2\"",
        /// A handshake must be complete within this time.
        default handshake_timeout: Written<Timeout> = "\"10s\"",
        /// The most connections at a time that are in their handshake; of one client, half as many.
        default max_handshakes: Integer<1, 10_000_000> = "8000",
        /// The most handshakes of one client address (IPv6: of one /64) in a time. Trusted proxies are not counted.
        optional handshake_rate: Written<Rate> => "any number",
        /// The file with the secret that session tickets are sealed with, at least 32 bytes. With it, clients resume
        /// their sessions after a restart, and at another gateway that has the same file.
        optional ticket_key: Written<FilePath> => "a secret of this process",
        /// Header fields in which the application is told about the certificate of the client: `{ "X-Client" = "subject" }`.
        /// What a client sends in these fields is always removed first.
        default client_headers: Pairs<FieldName, ClientFact> = "{}",
    }
}

words! {
    /// A version of TLS.
    pub enum MinVersion {
        /// TLS 1.2 (RFC 5246), with forward secrecy and AEAD only.
        Tls12 = "1.2",
        /// TLS 1.3 (RFC 8446).
        Tls13 = "1.3",
    }
}

words! {
    /// What can be told about a client's certificate.
    pub enum ClientFact {
        /// Its subject, as RFC 4514 writes it.
        Subject = "subject",
        /// The common name of its subject.
        CommonName = "common_name",
        /// The names that it is for, with commas between them.
        Names = "names",
        /// The subject of its authority.
        Issuer = "issuer",
        /// Its serial number, hexadecimal.
        Serial = "serial",
        /// SHA-256 of it, hexadecimal.
        Fingerprint = "fingerprint",
    }
}
