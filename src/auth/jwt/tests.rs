//! Tokens that are believed, and the well-known ways to make one that should not be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::auth::KeyFault;

#[path = "../../../tests/it/support/jwt.rs"]
mod signer;
use signer::{RSA_PEM, Signer, encode};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn rules() -> Rules {
    Rules {
        algorithms: Vec::new(),
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["deals".to_owned()],
        leeway: 60,
    }
}

fn claims() -> Value {
    json!({ "iss": "https://issuer.example", "aud": "deals", "sub": "u1", "iat": NOW - 10, "exp": NOW + 3600 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().shift_remove(name);
    claims
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::json(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn judge(token: &str, keys: &KeySet) -> Result<(), TokenFault> {
    rules().verify(token, keys, NOW).map(|_| ())
}

#[test]
fn good_tokens_of_every_kind() {
    for signer in [Signer::rsa(), Signer::pss(), Signer::p256(), Signer::ed25519()] {
        let keys = set(&[signer.jwk("k1")]);
        let believed = rules()
            .verify(&signer.token(Some("k1"), &claims()), &keys, NOW)
            .unwrap();
        assert_eq!(believed.texts("sub"), ["u1"]);
        // A set with one key needs no names, and a key without a name is good for each.
        assert_eq!(judge(&signer.token(None, &claims()), &keys), Ok(()));
        let mut unnamed = signer.jwk("k1");
        unnamed.as_object_mut().unwrap().shift_remove("kid");
        assert_eq!(judge(&signer.token(Some("other"), &claims()), &set(&[unnamed])), Ok(()));
    }
    let secret = Signer::secret(SECRET);
    assert_eq!(judge(&secret.token(None, &claims()), &KeySet::secret(SECRET)), Ok(()));
    let pem = KeySet::pem(RSA_PEM.as_bytes()).unwrap();
    assert_eq!(judge(&Signer::rsa().token(Some("any"), &claims()), &pem), Ok(()));
    assert_eq!(judge(&Signer::pss().token(None, &claims()), &pem), Ok(()));
}

#[test]
fn claims_are_judged() {
    let keys = KeySet::secret(SECRET);
    for (claims, expected) in [
        (claims(), Ok(())),
        (with("aud", json!(["other", "deals"])), Ok(())),
        (with("nbf", json!(NOW + 60)), Ok(())),
        (with("exp", json!(NOW - 59)), Ok(())),
        (with("exp", json!((NOW + 1) as f64 + 0.5)), Ok(())),
        (with("exp", json!(u64::MAX)), Ok(())),
        (without("iat"), Ok(())),
        (without("exp"), Err(TokenFault::Times)),
        (with("exp", json!(NOW - 60)), Err(TokenFault::Expired)),
        (with("exp", json!(0)), Err(TokenFault::Expired)),
        (with("exp", json!("9999999999")), Err(TokenFault::Times)),
        (with("exp", json!(-1)), Err(TokenFault::Times)),
        (with("exp", json!(null)), Err(TokenFault::Times)),
        (with("exp", json!([NOW + 9])), Err(TokenFault::Malformed)),
        (with("exp", json!({ "a": NOW + 9 })), Err(TokenFault::Malformed)),
        (with("nbf", json!(NOW + 61)), Err(TokenFault::Early)),
        (with("nbf", json!("soon")), Err(TokenFault::Times)),
        (with("iat", json!(NOW + 61)), Err(TokenFault::Early)),
        (without("iss"), Err(TokenFault::Issuer)),
        (with("iss", json!("https://issuer.example/")), Err(TokenFault::Issuer)),
        (
            with("iss", json!("https://issuer.example.evil.example")),
            Err(TokenFault::Issuer),
        ),
        (with("iss", json!("HTTPS://ISSUER.EXAMPLE")), Err(TokenFault::Issuer)),
        (with("iss", json!(7)), Err(TokenFault::Issuer)),
        (
            with("iss", json!({ "https://issuer.example": 1 })),
            Err(TokenFault::Issuer),
        ),
        (with("iss", json!("")), Err(TokenFault::Issuer)),
        (without("aud"), Err(TokenFault::Audience)),
        (with("aud", json!("deals2")), Err(TokenFault::Audience)),
        (with("aud", json!("deals other")), Err(TokenFault::Audience)),
        (with("aud", json!([])), Err(TokenFault::Audience)),
        (with("aud", json!(["other"])), Err(TokenFault::Audience)),
        (with("aud", json!(true)), Err(TokenFault::Audience)),
        (with("aud", json!([["deals"]])), Err(TokenFault::Audience)),
    ] {
        let token = Signer::secret(SECRET).token(None, &claims);
        assert_eq!(judge(&token, &keys), expected, "{claims}");
    }
}

/// Each of these has been somebody's vulnerability.
#[test]
fn attacks_on_the_algorithm() {
    let rsa = Signer::rsa();
    let keys = set(&[rsa.jwk("k1")]);
    let good = claims().to_string();
    let body = encode(&good);
    let none = |alg: &str, signature: &str| {
        let header = encode(json!({ "alg": alg, "typ": "JWT", "kid": "k1" }).to_string());
        format!("{header}.{body}.{signature}")
    };
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "null",
        "HS256 ",
        "RS256\u{0}",
        "rs256",
        "RS257",
        "ES512",
    ] {
        for signature in ["", "AAAA", &encode([0; 256])] {
            assert_eq!(
                judge(&none(alg, signature), &keys),
                Err(TokenFault::Malformed),
                "{alg:?}"
            );
        }
    }
    // The public key as the secret of an HMAC, in every form somebody might have it.
    let der = rsa.jwk("k1");
    for secret in [
        RSA_PEM.as_bytes(),
        RSA_PEM.trim_end().as_bytes(),
        der["n"].as_str().unwrap().as_bytes(),
        der.to_string().as_bytes(),
        b"",
    ] {
        let forged = Signer::secret(secret).raw(r#"{"alg":"HS256","typ":"JWT","kid":"k1"}"#, &good);
        assert_eq!(judge(&forged, &keys), Err(TokenFault::Algorithm));
        let pem = KeySet::pem(RSA_PEM.as_bytes()).unwrap();
        assert_eq!(judge(&forged, &pem), Err(TokenFault::Algorithm));
    }
    // A key for one algorithm signs by another one of its family, or of another family.
    let pss = Signer::pss().token(Some("k1"), &claims());
    assert_eq!(judge(&pss, &keys), Err(TokenFault::Algorithm), "the key says RS256");
    let relabelled = rsa.raw(r#"{"alg":"PS256","kid":"k1"}"#, &good);
    assert_eq!(
        judge(&relabelled, &KeySet::pem(RSA_PEM.as_bytes()).unwrap()),
        Err(TokenFault::Signature)
    );
    for other in [Signer::p256(), Signer::ed25519(), Signer::secret(SECRET)] {
        assert_eq!(
            judge(&other.token(Some("k1"), &claims()), &keys),
            Err(TokenFault::Algorithm)
        );
        let claims_rsa = other.raw(r#"{"alg":"RS256","kid":"k1"}"#, &good);
        assert_eq!(judge(&claims_rsa, &keys), Err(TokenFault::Signature));
    }
    // The file allows less than the key.
    let narrow = Rules {
        algorithms: vec![Algorithm::RS512],
        ..rules()
    };
    let token = rsa.token(None, &claims());
    assert_eq!(narrow.verify(&token, &keys, NOW).unwrap_err(), TokenFault::Algorithm);
    // A secret is for HMAC only.
    assert_eq!(
        judge(&token, &KeySet::secret(RSA_PEM.as_bytes())),
        Err(TokenFault::Algorithm)
    );
}

#[test]
fn attacks_on_the_header() {
    let rsa = Signer::rsa();
    let evil = Signer::p256();
    let keys = set(&[rsa.jwk("k1"), Signer::p256().jwk("k2")]);
    let good = claims().to_string();
    let signed = |header: &Value| rsa.raw(&header.to_string(), &good);
    for (header, expected) in [
        (json!({ "alg": "RS256" }), Ok(())),
        (json!({ "alg": "RS256", "typ": "at+JWT" }), Ok(())),
        (json!({ "alg": "RS256", "kid": "k1", "x-own": 1 }), Ok(())),
        (json!({ "alg": "RS256", "crit": [] }), Err(TokenFault::Unsupported)),
        (
            json!({ "alg": "RS256", "crit": ["exp"], "exp": 1 }),
            Err(TokenFault::Unsupported),
        ),
        (
            json!({ "alg": "RS256", "crit": ["b64"], "b64": false }),
            Err(TokenFault::Unsupported),
        ),
        (json!({ "alg": "RS256", "crit": "b64" }), Err(TokenFault::Malformed)),
        (json!({ "alg": "RS256", "b64": false }), Err(TokenFault::Unsupported)),
        (json!({ "alg": "RS256", "zip": "DEF" }), Err(TokenFault::Unsupported)),
        (
            json!({ "alg": "RS256", "typ": "logout+jwt" }),
            Err(TokenFault::Unsupported),
        ),
        (
            json!({ "alg": "RS256", "typ": "dpop+jwt" }),
            Err(TokenFault::Unsupported),
        ),
        (json!({ "typ": "JWT" }), Err(TokenFault::Malformed)),
        (json!({ "alg": ["RS256"] }), Err(TokenFault::Malformed)),
        (json!([{ "alg": "RS256" }]), Err(TokenFault::Malformed)),
        (json!({ "alg": "RS256", "kid": "k3" }), Err(TokenFault::UnknownKey)),
        (json!({ "alg": "RS256", "kid": "k2" }), Err(TokenFault::Algorithm)),
        (json!({ "alg": "RS256", "kid": "" }), Err(TokenFault::UnknownKey)),
        (
            json!({ "alg": "RS256", "kid": "../../dev/null" }),
            Err(TokenFault::UnknownKey),
        ),
        (
            json!({ "alg": "RS256", "kid": "k1' UNION SELECT 'x" }),
            Err(TokenFault::UnknownKey),
        ),
        (json!({ "alg": "RS256", "kid": "k1\u{0}" }), Err(TokenFault::UnknownKey)),
        (json!({ "alg": "RS256", "kid": 1 }), Err(TokenFault::Malformed)),
    ] {
        assert_eq!(judge(&signed(&header), &keys), expected, "{header}");
    }
    // The token brings its own key along, or says where one is to be had.
    for own in [
        json!({ "alg": "ES256", "jwk": evil.jwk("own") }),
        json!({ "alg": "ES256", "jwk": evil.jwk("k2"), "kid": "k2" }),
        json!({ "alg": "ES256", "jku": "https://evil.example/keys", "kid": "k2" }),
        json!({ "alg": "ES256", "x5u": "https://evil.example/cert", "kid": "k2" }),
        json!({ "alg": "ES256", "x5c": ["AAAA"], "kid": "k2" }),
    ] {
        let forged = evil.raw(&own.to_string(), &good);
        assert_eq!(judge(&forged, &keys), Err(TokenFault::Signature), "{own}");
    }
    let doubled = rsa.raw(r#"{"alg":"RS256","alg":"none"}"#, &good);
    assert_eq!(judge(&doubled, &keys), Err(TokenFault::Malformed));
}

#[test]
fn attacks_on_the_form() {
    let rsa = Signer::rsa();
    let keys = set(&[rsa.jwk("k1")]);
    let good = rsa.token(None, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("three parts")
    };
    let changed = encode(with("sub", json!("admin")).to_string());
    for (token, expected) in [
        (format!("{header}.{changed}.{signature}"), TokenFault::Signature),
        (format!("{header}.{body}."), TokenFault::Signature),
        (format!("{header}.{body}.AAAA"), TokenFault::Signature),
        (
            format!("{header}.{body}.{}", &signature[..signature.len() - 4]),
            TokenFault::Malformed,
        ),
        (format!("{header}.{body}.{signature}AAAA"), TokenFault::Signature),
        (format!("{header}.{body}"), TokenFault::Malformed),
        (
            format!("{header}.{body}.{signature}.{signature}"),
            TokenFault::Malformed,
        ),
        (
            format!("{header}.{body}.{signature}.{body}.{signature}"),
            TokenFault::Malformed,
        ),
        (format!("{header}.{body}.{signature}="), TokenFault::Malformed),
        (format!("{header}=.{body}.{signature}"), TokenFault::Malformed),
        (format!(" {good}"), TokenFault::Malformed),
        (format!("{good}\n"), TokenFault::Malformed),
        (format!("{header}..{signature}"), TokenFault::Signature),
        (format!(".{body}.{signature}"), TokenFault::Malformed),
        ("..".to_owned(), TokenFault::Malformed),
        (String::new(), TokenFault::Malformed),
        ("a.b.c".to_owned(), TokenFault::Malformed),
        (
            format!("{header}.{}.{signature}", "A".repeat(LONGEST)),
            TokenFault::Malformed,
        ),
        (rsa.raw(r#"{"alg":"RS256"}"#, "[]"), TokenFault::Malformed),
        (rsa.raw(r#"{"alg":"RS256"}"#, ""), TokenFault::Malformed),
        (rsa.raw(r#"{"alg":"RS256"}"#, "\"text\""), TokenFault::Malformed),
        (rsa.raw(r#"{"alg":"RS256"}"#, &"[".repeat(4000)), TokenFault::Malformed),
        (
            rsa.raw(&format!(r#"{{"alg":"RS256","x":{}}}"#, "[".repeat(2000)), "{}"),
            TokenFault::Malformed,
        ),
        (
            rsa.raw(
                r#"{"alg":"RS256"}"#,
                &claims()
                    .to_string()
                    .replace("\"sub\":\"u1\"", "\"sub\":\"u1\",\"sub\":\"admin\""),
            ),
            TokenFault::Malformed,
        ),
        // A signature of zeros (CVE-2022-21449), and one of another curve's length.
        (
            Signer::p256().raw(r#"{"alg":"ES256"}"#, &claims().to_string()),
            TokenFault::Algorithm,
        ),
    ] {
        assert_eq!(judge(&token, &keys), Err(expected), "{token:.200}");
    }
    let p256 = Signer::p256();
    let keys = set(&[p256.jwk("k1")]);
    let good = p256.token(None, &claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    for signature in [vec![0; 64], vec![0; 96], vec![0xff; 64], vec![]] {
        assert_eq!(
            judge(&format!("{message}.{}", encode(signature)), &keys),
            Err(TokenFault::Signature)
        );
    }
}

#[test]
fn sets_keep_what_is_for_signatures() {
    let usable =
        |keys: &[Value]| KeySet::json(json!({ "keys": keys }).to_string().as_bytes()).map(|set| format!("{set:?}"));
    let key = Signer::p256().jwk("k");
    let change = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    for (other, kept) in [
        (key.clone(), 2),
        (change("use", json!("enc")), 1),
        (change("key_ops", json!(["encrypt"])), 1),
        (change("key_ops", json!(["verify"])), 2),
        (change("crv", json!("P-521")), 1),
        (change("crv", json!("P-384")), 1),
        (change("x", json!("AAAA")), 1),
        (change("x", json!(7)), 1),
        (change("kty", json!("RSA")), 1),
        (change("kty", json!("AKP")), 1),
        (change("alg", json!("HS256")), 1),
        (change("alg", json!("none")), 1),
        (change("kid", json!("x".repeat(LONGEST))), 1),
        (Signer::secret(SECRET).jwk("k"), 1),
        (json!("text"), 1),
        (json!({ "kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB" }), 1),
    ] {
        assert_eq!(
            usable(&[Signer::rsa().jwk("a"), other.clone()]),
            Ok(format!("{kept} keys")),
            "{other}"
        );
    }
    for (text, fault) in [
        ("", KeyFault::NoSet),
        ("[]", KeyFault::NoSet),
        ("{}", KeyFault::NoSet),
        (r#"{"keys": {}}"#, KeyFault::NoSet),
        (r#"{"keys": []}"#, KeyFault::EmptySet),
        (r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#, KeyFault::EmptySet),
    ] {
        assert_eq!(KeySet::json(text.as_bytes()).unwrap_err(), fault, "{text}");
    }
    let many: Vec<Value> = (0..1000)
        .map(|index| Signer::rsa().jwk(&index.to_string()))
        .take(80)
        .collect();
    assert_eq!(usable(&many), Ok("64 keys".to_owned()));
    for text in [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n",
    ] {
        assert_eq!(
            KeySet::pem(text.as_bytes()).unwrap_err(),
            KeyFault::NoPublicKey,
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics(token in "\\PC{0,200}", dotted in "[A-Za-z0-9_.=-]{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let keys = KeySet::secret(SECRET);
        prop_assert!(judge(&token, &keys).is_err());
        prop_assert!(judge(&dotted, &keys).is_err());
        let _ = KeySet::json(&bytes);
        let _ = KeySet::pem(&bytes);
        let header = encode(r#"{"alg":"HS256"}"#);
        let unsigned = [header, encode(&bytes), encode(&bytes)].join(".");
        prop_assert!(judge(&unsigned, &keys).is_err());
    }
}
