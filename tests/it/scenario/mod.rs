//! What someone would notice, over real sockets.

mod admin;
mod answers;
mod contract;
mod cors;
mod delivery;
mod discovery;
mod faults;
mod fetch;
mod files;
mod gate;
mod grpc;
mod health;
mod hedging;
mod hostile;
mod limits;
mod observability;
mod probes;
mod process;
mod protocols;
mod proxying;
mod reload;
mod resilience;
mod routing;
mod tls;
mod upstream_tls;
