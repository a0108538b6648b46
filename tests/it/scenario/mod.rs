//! What someone would notice, over real sockets.

mod answers;
mod contract;
mod delivery;
mod discovery;
mod faults;
mod files;
mod gate;
mod health;
mod hostile;
mod observability;
mod process;
mod proxying;
mod routing;
