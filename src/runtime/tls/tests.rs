//! Tests of the module above.

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::config::model::{ClientCertificate, UpstreamTls};

/// Files of a certificate that signed itself.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        files.pair("a");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `NAME.pem` and `NAME.key`.
    fn pair(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn profile(&self) -> UpstreamTls {
        UpstreamTls {
            ca: Some(self.path("a.pem")),
            certificate: Some(ClientCertificate {
                cert: self.path("a.pem"),
                key: self.path("a.key"),
            }),
            sni: None,
            verify: true,
        }
    }
}

fn fault(profile: &UpstreamTls) -> String {
    ClientTls::load(profile).map(drop).unwrap_err().to_string()
}

#[test]
fn good_files_make_a_profile() {
    let files = Files::new();
    let tls = ClientTls::load(&files.profile()).unwrap();
    assert_eq!(tls.authorities.as_ref().map(Vec::len), Some(1));
    assert_eq!(tls.identity.as_ref().map(|identity| identity.chain.len()), Some(1));
    assert_eq!(tls.config(&[b"h2"]).alpn_protocols, [b"h2".to_vec()]);
    let plain = UpstreamTls {
        ca: None,
        certificate: None,
        ..files.profile()
    };
    assert!(ClientTls::load(&plain).unwrap().authorities.is_none());
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let files = Files::new();
    files.pair("b");
    let empty = files.write("empty.pem", "");
    let text = files.write("text.pem", "hello\n");
    let torn = files.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA");
    let garbage = files.write(
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let large = files.write("large.pem", &"x".repeat(5 << 20));
    let of_ca = [
        (files.path("absent.pem"), "cannot read"),
        (files.directory.path().to_owned(), "cannot read"),
        (empty, "holds no certificate"),
        (text, "holds no certificate"),
        (files.path("a.key"), "holds no certificate"),
        (torn, "not as PEM files are"),
        (garbage.clone(), "a certificate that cannot be used"),
        (large, "larger than 4 MiB"),
    ];
    for (path, expected) in of_ca {
        let said = fault(&UpstreamTls {
            ca: Some(path.clone()),
            ..files.profile()
        });
        assert!(
            said.contains(expected) && said.contains(path.to_str().unwrap()),
            "{said}"
        );
    }
    let of_identity = [
        (files.path("a.pem"), files.path("b.key"), "cannot be used"),
        (files.path("a.pem"), files.path("a.pem"), "holds no private key"),
        (garbage, files.path("a.key"), "a certificate that cannot be used"),
    ];
    for (cert, key, expected) in of_identity {
        let said = fault(&UpstreamTls {
            certificate: Some(ClientCertificate { cert, key }),
            ..files.profile()
        });
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn profiles_are_told_apart_by_what_the_files_hold() {
    let files = Files::new();
    let print = |profile: &UpstreamTls| ClientTls::load(profile).unwrap().fingerprint;
    let first = files.profile();
    assert_eq!(print(&first), print(&first));
    let others = [
        UpstreamTls {
            ca: None,
            ..first.clone()
        },
        UpstreamTls {
            certificate: None,
            ..first.clone()
        },
        UpstreamTls {
            verify: false,
            ..first.clone()
        },
        UpstreamTls {
            sni: Some("b".into()),
            ..first.clone()
        },
    ];
    for other in &others {
        assert_ne!(print(other), print(&first), "{other:?}");
    }
    let before = print(&first);
    files.pair("a"); // replaced in place, as a renewal does
    assert_ne!(print(&first), before);
}

#[test]
fn a_name_is_never_empty() {
    let files = Files::new();
    let own = ClientTls::load(&files.profile()).unwrap();
    let given = ClientTls::load(&UpstreamTls {
        sni: Some("api.internal".into()),
        ..files.profile()
    })
    .unwrap();
    for (server, name) in [
        ("app:5000", "app"),
        ("10.0.0.1:443", "10.0.0.1"),
        ("[::1]:443", "::1"),
        ("unix:/run/app.sock", "localhost"),
        ("unix:/run/8080", "localhost"),
        (":443", "localhost"),
        ("", "localhost"),
    ] {
        assert_eq!(own.name(server), name, "{server}");
        assert_eq!(given.name(server), "api.internal", "{server}");
        assert!(ServerName::try_from(own.name(server)).is_ok(), "{server}");
    }
}
