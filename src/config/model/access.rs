//! `[access.NAME]`.

use std::path::PathBuf;
use std::sync::Arc;

use http::Method;

use crate::country::Country;
use crate::networks::Networks;
use crate::policy::{Agents, Scanners};

/// `[access.NAME]`: who may use a route, and with what.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its name.
    pub name: Arc<str>,
    /// The only clients; `None`: everybody.
    pub allow: Option<NetworkList>,
    /// Clients that may not.
    pub deny: Option<NetworkList>,
    /// The only countries; empty: all.
    pub allow_countries: Vec<Country>,
    /// Countries that may not.
    pub deny_countries: Vec<Country>,
    /// The only programs; `None`: all.
    pub allow_agents: Option<Arc<Agents>>,
    /// Programs that may not.
    pub deny_agents: Option<Arc<Agents>>,
    /// What only scanners ask for.
    pub scanners: Scanners,
    /// The only methods; empty: any.
    pub methods: Vec<Method>,
    /// The only media types of bodies; empty: any.
    pub content_types: Vec<Box<str>>,
}

/// Networks: those in the file, and those in files of their own.
#[derive(Debug, Clone, Default)]
pub struct NetworkList {
    /// In the file.
    pub inline: Networks,
    /// Further files, absolute.
    pub files: Vec<PathBuf>,
}
