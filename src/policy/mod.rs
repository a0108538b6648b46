//! What may be asked of a request and done to its answer: a file per policy, siblings never name each other.
//!
//! [`Admission`] and [`Delivery`] are the two declared orders: the only place where policies meet.

mod access;
mod compress;
mod headers;
mod redirect;
mod rewrite;

pub use access::AllowList;
pub use compress::{Coding, Compression, Encoder};
pub use headers::{ContentSecurityPolicy, HeaderPolicy, Preset};
pub use redirect::{Redirect, Template, TemplateError};
pub use rewrite::Rewrite;
