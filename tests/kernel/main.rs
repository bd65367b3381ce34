//! The kernel itself, in network namespaces made for each test. Needs root, `nft`, `ip` and `unshare`.

mod everything;
mod namespace;
mod three_ways;
