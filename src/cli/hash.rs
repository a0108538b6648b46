//! `gateway hash`: what the files of `[auth.NAME]` hold.

use std::io::{self, BufRead};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{BAD_COMMAND, BAD_ENVIRONMENT, GOOD, print, say};
use crate::auth::{ApiKeys, Password};

/// Of what.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key for a partner; prints it once, and what goes into the file of `api_keys`
    ApiKey {
        /// The partner's name
        #[arg(default_value = "partner")]
        name: String,
    },
    /// Hash a password, which is read from standard input; prints a line for the file of `basic`
    Password {
        /// The user's name
        name: String,
    },
}

pub(super) fn run(options: &Options) -> u8 {
    match &options.what {
        What::ApiKey { name } => api_key(name),
        What::Password { name } => password(name),
    }
}

fn api_key(name: &str) -> u8 {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
        say("error: a partner's name has 1 to 64 of `a-z`, `0-9`, `_` and `-`");
        return BAD_COMMAND;
    }
    let Some(random) = random::<32>() else {
        return BAD_ENVIRONMENT;
    };
    let key = URL_SAFE_NO_PAD.encode(random);
    say(&format!(
        "the key, for the partner; nobody can show it again:\n{key}\n\nfor the file of `api_keys`:"
    ));
    print(&format!("[{name}]\nsha256 = \"{}\"\n", ApiKeys::hash(&key)));
    GOOD
}

fn password(name: &str) -> u8 {
    if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) {
        say("error: a user's name has no `:` and is not empty");
        return BAD_COMMAND;
    }
    let mut line = Zeroizing::new(String::new());
    if io::stdin().lock().read_line(&mut line).is_err() || line.trim_end_matches(['\r', '\n']).is_empty() {
        say("error: no password on standard input");
        return BAD_COMMAND;
    }
    let Some(salt) = random::<16>() else {
        return BAD_ENVIRONMENT;
    };
    match Password::hash(line.trim_end_matches(['\r', '\n']), &salt) {
        Some(hash) => {
            print(&format!("{name}:{hash}\n"));
            GOOD
        }
        None => {
            say("error: such a password cannot be hashed");
            BAD_COMMAND
        }
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        say("error: the system has no random numbers");
        return None;
    }
    Some(bytes)
}
