//! The kernel itself, in network namespaces made for each test. Needs root, `nft`, `ip` and `unshare`.

mod apply;
mod cache;
mod connections;
mod everything;
mod namespace;
mod numbering;
mod random;
mod refused;
mod three_ways;
mod timing;
