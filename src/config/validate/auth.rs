//! `[auth.NAME]`, and `auth` of routes.

use std::sync::Arc;

use ::http::header::AUTHORIZATION;

use super::names::Names;
use super::{Checker, Known};
use crate::auth::{API_KEYS_MAX, ApiKeys, ClaimName, KEY_FILE_MAX, KeySet, Requirement, Source, Users, jwt};
use crate::config::file;
use crate::config::file::auth::{ClaimValue, Credentials, FailureRate};
use crate::config::file::forward_auth::SameQuestion;
use crate::config::list::OneOrMore;
use crate::config::model::{Auth, AuthMethod, ForwardAuth, Jwks, Jwt, JwtKeys, RouteAuth, VerdictCache};
use crate::config::named::Pairs;
use crate::config::plain_file;
use crate::config::suggest::clip;
use crate::config::text::{FilePath, Reference, Written};
use crate::config::units::Rate;
use crate::config::value::{Either, False, Spanned};

type Requires = Pairs<ClaimName, OneOrMore<Written<ClaimValue>>>;

/// Makes the model of a table; `None`: something of it is wrong and has been reported.
pub(super) fn auth(
    name: &Spanned<String>,
    auth: &file::auth::Auth,
    upstreams: &mut Names<'_>,
    checker: &mut Checker<'_>,
) -> Option<Auth> {
    let file::auth::Auth {
        jwt,
        api_keys,
        basic,
        forward_auth,
        forward,
        require,
        optional,
        credentials,
    } = auth;
    let faulty = jwt.is_faulty() || api_keys.is_faulty() || basic.is_faulty() || forward_auth.is_faulty();
    let places = [
        jwt.given().map(|way| way.span),
        api_keys.given().map(|way| way.span),
        basic.given().map(|way| way.span),
        forward_auth.given().map(|way| way.span),
    ];
    let mut places = places.into_iter().flatten();
    match (places.next(), places.next()) {
        (None, _) if faulty => {}
        (None, _) => checker.error(
            name.span,
            format!("`[auth.{}]` does not say how somebody is known", clip(&name.value)),
            "add `jwt = { … }`, `api_keys = { … }`, `basic = { … }` or `forward_auth = { … }`".to_owned(),
        ),
        (Some(_), None) => {}
        (Some(_), Some(second)) => checker.error(
            second,
            format!("`[auth.{}]` has two ways to be known", clip(&name.value)),
            "make a table of each, and let the route name both: `auth = [\"one\", \"other\"]` is any of them"
                .to_owned(),
        ),
    }
    let method = if let Some(jwt) = jwt.given() {
        Some(AuthMethod::Jwt(self::jwt(jwt, checker)?))
    } else if let Some(keys) = api_keys.given() {
        Some(AuthMethod::ApiKeys {
            header: keys.header.value.value.clone(),
            file: readable(
                keys.file.given()?,
                API_KEYS_MAX,
                |text| ApiKeys::parse(text).err(),
                checker,
            )?,
            max_failures: max_failures(&keys.max_failures),
        })
    } else if let Some(users) = basic.given() {
        let file = users.file.given()?;
        Some(AuthMethod::Basic {
            file: readable(file, API_KEYS_MAX, |text| Users::parse(text).err(), checker)?,
            max_failures: max_failures(&users.max_failures),
        })
    } else if let Some(asked) = forward_auth.given() {
        Some(AuthMethod::Asked(self::forward_auth(&asked.value, upstreams, checker)?))
    } else {
        None
    };
    let mut fields: Vec<(::http::HeaderName, ClaimName)> = Vec::new();
    for (field, claim) in &forward.0 {
        let header = field.value.value.0.clone();
        if fields.iter().any(|(other, _)| *other == header) {
            checker.error(
                field.span,
                format!("`{}` is there twice", field.text),
                "upper and lower case are the same".to_owned(),
            );
        }
        fields.push((header, claim.value.value.clone()));
    }
    let method = method?;
    if credentials.value == Credentials::Remove
        && let AuthMethod::Jwt(jwt) = &method
        && jwt.from.iter().any(|source| matches!(source, Source::Query(_)))
    {
        checker.error(
            credentials.span,
            "a token in the query cannot be taken out",
            "the application sees the address as the client wrote it: leave `credentials` away, or send it in a field"
                .to_owned(),
        );
    }
    if credentials.value == Credentials::Remove && matches!(method, AuthMethod::Asked(_)) {
        checker.error(
            credentials.span,
            "only the application knows what the credential is",
            "leave `credentials` away".to_owned(),
        );
    }
    Some(Auth {
        name: name.value.as_str().into(),
        method,
        forward: fields,
        require: requirements(require),
        optional: optional.value,
        removes_credential: credentials.value == Credentials::Remove,
    })
}

fn max_failures(written: &Either<False, Written<FailureRate>>) -> Option<Rate> {
    match written {
        Either::First(_) => None,
        Either::Second(rate) => Some(rate.value.0),
    }
}

fn forward_auth(
    asked: &file::forward_auth::ForwardAuth,
    upstreams: &mut Names<'_>,
    checker: &mut Checker<'_>,
) -> Option<ForwardAuth> {
    let file::forward_auth::ForwardAuth {
        upstream,
        path,
        send,
        timeout,
        cache,
    } = asked;
    let upstream = upstream
        .given()
        .and_then(|name| upstreams.find(&name.text, name.span, checker));
    Some(ForwardAuth {
        upstream: upstream?,
        target: path.given()?.text.as_str().into(),
        send: send.0.iter().map(|name| name.value.value.clone()).collect(),
        timeout: timeout.value.value.0,
        cache: cache.given().and_then(|cache| match &cache.value {
            Either::First(ttl) => Some(VerdictCache {
                ttl: ttl.value.0,
                by_credentials: false,
            }),
            Either::Second(cache) => Some(VerdictCache {
                ttl: cache.ttl.given()?.value.value.0,
                by_credentials: cache.by.value == SameQuestion::Credentials,
            }),
        }),
    })
}

fn jwt(jwt: &Spanned<file::auth::Jwt>, checker: &mut Checker<'_>) -> Option<Jwt> {
    let file::auth::Jwt {
        secret,
        public_key,
        jwks_url,
        ca,
        refresh,
        algorithms,
        issuer,
        audience,
        leeway,
        from,
    } = &jwt.value;
    if secret.is_faulty() || public_key.is_faulty() || jwks_url.is_faulty() || algorithms.is_faulty() {
        return None;
    }
    let keys = match (secret.given(), public_key.given(), jwks_url.given()) {
        (Some(secret), None, None) => JwtKeys::Secret(secret.text.clone()),
        (None, Some(path), None) => JwtKeys::File(readable(path, KEY_FILE_MAX, not_a_key, checker)?),
        (None, None, Some(url)) => JwtKeys::Url(Jwks {
            url: url.value.value.0.clone(),
            ca: match ca.given() {
                Some(ca) => Some(readable(ca, KEY_FILE_MAX, |_| None, checker)?),
                None => None,
            },
            refresh: refresh.value.value.0,
        }),
        _ => {
            checker.error(
                jwt.span,
                "`jwt` needs exactly one of `secret`, `public_key` and `jwks_url`",
                "what a token is verified with is one thing: another one is another `[auth.NAME]`".to_owned(),
            );
            return None;
        }
    };
    let by_url = matches!(keys, JwtKeys::Url(_));
    if !by_url && let Some(ca) = ca.given() {
        checker.error(ca.span, "`ca` goes with `jwks_url` only", "remove it".to_owned());
    }
    if by_url && audience.given().is_none() {
        checker.warning(
            jwt.span,
            "without `audience` a token for any other application of this issuer is as good",
            "write whom the tokens are for: `audience = \"…\"`".to_owned(),
        );
    }
    let by_secret = matches!(keys, JwtKeys::Secret(_));
    let mut accepted: Vec<jwt::Algorithm> = Vec::new();
    for algorithm in algorithms
        .given()
        .into_iter()
        .flat_map(|algorithms| &algorithms.value.0)
    {
        let algorithm_accepted = jwt::Algorithm::from(algorithm.value);
        let symmetric = algorithm_accepted.family() == jwt::Family::Hmac;
        if symmetric != by_secret {
            checker.error(
                algorithm.span,
                format!("no key here is for `{algorithm_accepted:?}`"),
                if by_secret {
                    "a secret is for HS256, HS384 and HS512: with another algorithm, tokens are verified by a `public_key`"
                } else {
                    "a public key is no secret: HS256 and its kind go with `secret`"
                }
                .to_owned(),
            );
        }
        accepted.push(algorithm_accepted);
    }
    if by_secret && accepted.is_empty() {
        accepted.push(jwt::Algorithm::HS256);
    }
    let texts = |field: &crate::config::value::Field<OneOrMore<Written<ClaimValue>>>| {
        let values = field.given().into_iter().flat_map(|values| &values.value.0);
        values.map(|value| value.value.text.clone()).collect()
    };
    Some(Jwt {
        keys,
        rules: jwt::Rules {
            algorithms: accepted,
            issuers: texts(issuer),
            audiences: texts(audience),
            leeway: leeway.value.value.0.as_secs(),
        },
        from: from.0.iter().map(|source| source.value.value.clone()).collect(),
    })
}

/// The absolute path of a file that can be read, and of which `fault` finds nothing to say.
fn readable(
    path: &Spanned<Written<FilePath>>,
    most: u64,
    fault: impl Fn(&str) -> Option<String>,
    checker: &mut Checker<'_>,
) -> Option<std::path::PathBuf> {
    let file = checker.path(&path.text);
    let (what, help) = match plain_file::read(&file, most) {
        Err(why) => (
            format!("cannot be read: {why}"),
            Some("the path is relative to the directory of this file".to_owned()),
        ),
        Ok(text) => match fault(&text) {
            None => return Some(file),
            Some(why) => (format!("cannot be used: {why}"), None),
        },
    };
    checker.error(path.span, format!("`{}` {what}", clip(&path.text)), help);
    None
}

fn not_a_key(text: &str) -> Option<String> {
    KeySet::pem(text.as_bytes()).err().map(|fault| fault.to_string())
}

fn requirements(require: &Requires) -> Vec<Requirement> {
    let requirement =
        |(claim, values): &(Spanned<Written<ClaimName>>, Spanned<OneOrMore<Written<ClaimValue>>>)| Requirement {
            claim: claim.value.value.clone(),
            values: values.value.0.iter().map(|value| value.value.text.clone()).collect(),
        };
    require.0.iter().map(requirement).collect()
}

/// `auth` of a route or of `[defaults]`.
pub(super) fn rule(
    rule: &Either<OneOrMore<Written<Reference>>, file::auth::AuthRule>,
    known: &mut Known<'_>,
    checker: &mut Checker<'_>,
) -> Option<Arc<RouteAuth>> {
    let (by, require, optional) = match rule {
        Either::First(by) => (by, Vec::new(), None),
        Either::Second(file::auth::AuthRule { by, require, optional }) => (
            &by.given()?.value,
            requirements(require),
            optional.given().map(|optional| optional.value),
        ),
    };
    let mut ways = Vec::new();
    for name in &by.0 {
        let Some(index) = known.auths.find_at(name, checker) else {
            continue;
        };
        if ways.contains(&index) {
            checker.error(
                name.span,
                format!("`{}` is there twice", name.text),
                "remove it".to_owned(),
            );
        }
        ways.push(index);
    }
    Some(Arc::new(RouteAuth {
        by: ways,
        require,
        optional,
    }))
}

/// What the access log must mask, beyond what the file says: no credential reaches a log.
pub(super) fn credentials(auths: &[Auth]) -> Vec<String> {
    let mut hidden = vec![format!("header:{AUTHORIZATION}")];
    for auth in auths {
        match &auth.method {
            AuthMethod::Jwt(jwt) => hidden.extend(jwt.from.iter().map(|source| match source {
                Source::Header(name) => format!("header:{name}"),
                Source::Cookie(_) => "header:cookie".to_owned(),
                Source::Query(name) => format!("query:{name}"),
            })),
            AuthMethod::Basic { .. } => {} // `Authorization`
            // What it goes by is what the question has.
            AuthMethod::Asked(asked) => {
                let names = asked.send.iter().filter(|name| **name != ::http::header::ACCEPT);
                hidden.extend(names.map(|name| format!("header:{name}")));
            }
            AuthMethod::ApiKeys { header, .. } => hidden.push(format!("header:{header}")),
        }
    }
    hidden
}
