//! The kernel itself, in network namespaces made for each test. Needs root, `nft`, `ip` and `unshare`.

mod apply;
mod cache;
mod everything;
mod namespace;
mod random;
mod three_ways;
