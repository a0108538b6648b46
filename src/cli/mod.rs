//! The command line: one command, one exit code.

mod cache;
mod check;
mod control;
mod demo;
mod hash;
mod health;
mod limits;
mod operator;
mod proxy;
mod run;
mod schema;
mod takeover;
mod upstreams;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// 0: good.
pub const GOOD: u8 = 0;
/// 1: the file is wrong.
pub const BAD_FILE: u8 = 1;
/// 2: the command is wrong.
pub const BAD_COMMAND: u8 = 2;
/// 3: the environment failed: a port in use, no permission.
pub const BAD_ENVIRONMENT: u8 = 3;
/// 4: a stop cut requests that had not finished in time.
pub const CUT: u8 = 4;

const EXAMPLES: &str = "\
Examples:
  gateway demo                                 three stand-in replicas, the gateway before them, what to try
  gateway proxy --to 127.0.0.1:5000            serve without a file, on http://127.0.0.1:8080
  gateway check -c gateway.toml                every fault of the file at once
  gateway check --print                        the file with every default filled in
  gateway run -c gateway.toml                  serve
  gateway reload --plan                        what a reload would change; without --plan: reload
  gateway upgrade                              the new binary takes over, nothing is dropped
  gateway rollback                             back to the configuration before
  gateway health                               whether the gateway that runs wants requests; exit code 0: yes
  gateway upstreams                            the servers of a gateway that runs: state and why
  gateway cache explain https://host/path      what would be answered from the cache, and why
  gateway drain api api-1:5000                 nothing new goes to that server
  gateway limits report                        what rate limits refused or would refuse, and which would suit
  gateway hash api-key acme                    a key for a partner, and the hash for the file
  gateway schema > gateway.schema.json         for editors: #:schema ./gateway.schema.json
  gateway -t -c gateway.toml                   check, as fingers know it from nginx; -T prints as well

Exit codes: 0 good, 1 the file is wrong, 2 the command is wrong, 3 the environment failed,\n4 a stop cut requests that had not finished in time.";

/// A reverse-proxy gateway that stands in nginx's place before application containers.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, about, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Check the file and exit (nginx's spelling of `check`)
    #[arg(short = 't', conflicts_with = "test_and_print")]
    test: bool,
    /// Check the file, print it with every default, and exit (nginx's spelling of `check --print`)
    #[arg(short = 'T')]
    test_and_print: bool,
    /// Tell the gateway that runs (nginx's spelling; `reload` and `upgrade` are the commands of that name, and take what
    /// those take to find the gateway)
    #[arg(short = 's', value_name = "SIGNAL", value_enum, conflicts_with_all = ["test", "test_and_print"])]
    signal: Option<control::NginxSignal>,
    #[command(flatten)]
    file: File,
    #[command(flatten, next_help_heading = "With -s reload and -s upgrade")]
    which: operator::Which,
}

/// Which file.
#[derive(Debug, Clone, Args)]
struct File {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "gateway.toml", global = true)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve
    #[command(after_help = "Example:\n  gateway run -c /etc/gateway/gateway.toml\n\n\
        Signals: SIGTERM (after [server] pre_stop) or SIGINT stop, at the latest after shutdown_timeout; a second one\n\
        at once;\n\
        SIGQUIT stops when the last request has finished; SIGUSR1 reopens log files;\n\
        SIGHUP applies a changed file: a bad one changes nothing; SIGUSR2 is `gateway upgrade`.")]
    Run,
    /// Serve without a file: everything goes to one upstream
    #[command(after_help = "Examples:\n  gateway proxy --to 127.0.0.1:5000\n  \
        gateway proxy --to app:5000 --listen 0.0.0.0:80")]
    Proxy(proxy::Options),
    /// Check the file: every fault at once, with its place and its cure
    #[command(
        after_help = "Examples:\n  gateway check -c gateway.toml\n  gateway check --print\n  \
        gateway check --format json | jq '.diagnostics[].message'"
    )]
    Check(check::Options),
    /// Print the JSON Schema of the file, for editors
    #[command(after_help = "Example:\n  gateway schema > gateway.schema.json")]
    Schema,
    /// Apply the changed file to the gateway that runs: whole, or not at all
    #[command(after_help = "Examples:\n  gateway reload --plan\n  gateway reload\n  \
        gateway reload --confirm 5min              goes back unless `gateway confirm` comes in time")]
    Reload(control::ReloadOptions),
    /// Let a process of the new binary take the place of the one that runs: no connection is refused or cut
    #[command(after_help = "Example:\n  install -m 755 gateway-1.2 /usr/local/bin/gateway && gateway upgrade")]
    Upgrade(control::Common),
    /// Put a configuration into force that was before; the file stays as it is
    #[command(after_help = "Examples:\n  gateway rollback\n  gateway history && gateway rollback 12")]
    Rollback(control::RollbackOptions),
    /// A configuration that is on trial stays
    #[command(after_help = "Example:\n  gateway reload --confirm 5min && ./smoke-test && gateway confirm")]
    Confirm(control::Common),
    /// Show which configurations were in force: when, by whom, what they changed
    #[command(after_help = "Example:\n  gateway history")]
    History(control::Common),
    /// Ask a gateway that runs whether it wants requests: exit code 0 where it does
    #[command(
        after_help = "Examples:\n  gateway health\n  gateway health --live --admin 127.0.0.1:9900\n  \
        HEALTHCHECK CMD [\"gateway\", \"health\"]          in a Dockerfile"
    )]
    Health(health::Options),
    /// Show the servers of a gateway that runs: state and why, load, latency
    #[command(
        after_help = "Examples:\n  gateway upstreams\n  gateway upstreams api --admin 127.0.0.1:9900\n  \
        gateway upstreams --json | jq '.upstreams.api.servers[].state'"
    )]
    Upstreams(upstreams::Options),
    /// Take a server out of service: nothing new goes to it, what it works on finishes
    #[command(after_help = "Examples:\n  gateway drain api api-1:5000\n  \
        gateway drain api app:5000@10.0.0.7:5000        one of several addresses of a name\n  \
        gateway drain shop 127.0.0.1:7001 --keep-sessions")]
    Drain(upstreams::DrainOptions),
    /// Put a server back into service
    #[command(after_help = "Example:\n  gateway undrain api api-1:5000")]
    Undrain(upstreams::Server),
    /// Look at the rate limits of a gateway that runs: what they refused or would refuse, who is banned
    #[command(
        after_help = "Examples:\n  gateway limits report\n  gateway limits bans\n  gateway limits unban 192.0.2.1"
    )]
    Limits(limits::Options),
    /// Make what the files of `[auth.NAME]` hold: keys of partners, hashes of passwords
    #[command(after_help = "Examples:\n  gateway hash api-key acme >> keys/partners.toml\n  \
        gateway hash password ann < password.txt >> users")]
    Hash(hash::Options),
    /// What a gateway that runs keeps of answers: why, and out with it
    #[command(
        after_help = "Examples:\n  gateway cache explain https://deals247.online/api/deals -H 'accept-language: de'\n  \
        gateway cache purge --prefix /api/deals\n  gateway cache purge --tag deals --soft\n  gateway cache list"
    )]
    Cache(cache::Options),
    /// Three stand-in replicas of Deals247, the gateway before them, what to try next
    #[command(after_help = "Examples:\n  gateway demo --listen 127.0.0.1:8080\n  \
        gateway demo --api 127.0.0.1:5000,127.0.0.1:5001 --web 127.0.0.1:3000    the application alone")]
    Demo(demo::Options),
}

/// The command line, as it is parsed. Which gateway is meant is said to each command that asks one, or to `-s`.
fn command_line() -> clap::Command {
    Cli::command().mut_args(|arg| match arg.get_id().as_str().starts_with("admin") {
        true => arg.global(false).requires("signal"),
        false => arg,
    })
}

/// Runs the command line.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = command_line().try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { BAD_COMMAND } else { GOOD };
            let _ = error.print();
            return code.into();
        }
    };
    let path = cli.file.config;
    let code = match cli.command {
        Some(_) if cli.test || cli.test_and_print || cli.signal.is_some() => {
            usage("-t, -T and -s stand alone, without a command")
        }
        Some(Command::Run) => run::run(&path),
        Some(Command::Proxy(options)) => proxy::run(&options),
        Some(Command::Check(options)) => check::run(&path, &options),
        Some(Command::Schema) => schema::run(),
        Some(Command::Reload(options)) => control::reload(&path, &options),
        Some(Command::Upgrade(options)) => control::upgrade(&path, &options),
        Some(Command::Rollback(options)) => control::rollback(&path, &options),
        Some(Command::Confirm(options)) => control::confirm(&path, &options),
        Some(Command::History(options)) => control::history(&path, &options),
        Some(Command::Health(options)) => health::run(&path, &options),
        Some(Command::Upstreams(options)) => upstreams::show(&path, &options),
        Some(Command::Drain(options)) => upstreams::drain(&path, &options),
        Some(Command::Limits(options)) => limits::execute(&path, &options),
        Some(Command::Undrain(server)) => upstreams::undrain(&path, &server),
        Some(Command::Hash(options)) => hash::run(&options),
        Some(Command::Cache(options)) => cache::cache(&path, &options),
        Some(Command::Demo(options)) => demo::run(&options),
        None if cli.test || cli.test_and_print => check::run(&path, &check::Options::nginx(cli.test_and_print)),
        None => match cli.signal {
            Some(signal) => control::signal(&path, signal, cli.which),
            None => usage("which command?"),
        },
    };
    code.into()
}

fn usage(problem: &str) -> u8 {
    say(&format!("error: {problem}\n\n{EXAMPLES}"));
    BAD_COMMAND
}

/// Writes for the person at the terminal; results of a command go to standard output instead.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes the result of a command; a reader that has gone away is not an error.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether to use colour on standard error.
fn colour() -> bool {
    use std::io::IsTerminal as _;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_in_order() {
        command_line().debug_assert();
    }
}
