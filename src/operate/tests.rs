//! The commands' logic on the kernel in memory.
