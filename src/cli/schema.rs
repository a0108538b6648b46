//! `gateway schema`: for editors.

use super::{GOOD, print};
use crate::config;

pub(super) fn run() -> u8 {
    print(&format!("{:#}\n", config::schema()));
    GOOD
}
