//! `[bandwidth.NAME]`

use super::Checker;
use super::rate_limit::parts;
use crate::config::diagnostic::Span;
use crate::config::file;
use crate::config::model::Bandwidth;
use crate::config::suggest::clip;
use crate::config::value::Spanned;
use crate::policy::AllowList;

/// Makes the limit; `None`: something of it is wrong and has been reported.
pub(super) fn bandwidth(
    name: &Spanned<String>,
    bandwidth: &file::bandwidth::Bandwidth,
    checker: &mut Checker<'_>,
) -> Option<Bandwidth> {
    let file::bandwidth::Bandwidth {
        download,
        upload,
        burst,
        key,
        ipv6_prefix,
        allow,
    } = bandwidth;
    if download.is_absent() && upload.is_absent() {
        let at: Span = name.span;
        let name = clip(&name.value);
        checker.error(
            at,
            format!("`[bandwidth.{name}]` bounds nothing"),
            "add for example `download = \"1MB/s\"`".to_owned(),
        );
        return None;
    }
    if download.is_faulty() || upload.is_faulty() || burst.is_faulty() {
        return None;
    }
    let table = format!("[bandwidth.{}]", clip(&name.value));
    Some(Bandwidth {
        name: name.value.as_str().into(),
        download: download.given().map(|speed| speed.value.value.0),
        upload: upload.given().map(|speed| speed.value.value.0),
        burst: burst.given().map(|burst| burst.value.value.0),
        key: parts(&table, &key.0, checker),
        ipv6_prefix: u8::try_from(ipv6_prefix.0).unwrap_or(u8::MAX),
        exempt: allow
            .given()
            .map(|allow| AllowList::new(allow.0.iter().map(|network| network.value.value).collect())),
    })
}
