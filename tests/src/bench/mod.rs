//! The benchmarks: what each scenario does, what it is compared with, and how it is measured.
//!
//! The load generator shares the machine with what it measures. So it runs on one
//! thread, its requests are made before the clock starts, it speaks HTTP/1.1 over plain
//! sockets, and it reads no more of an answer than it must.

pub mod backtest;
pub mod by_hand;
pub mod candidates;
pub mod fields;
pub mod flat;
pub mod http;
pub mod identities;
pub mod in_process;
pub mod languages;
pub mod latency;
pub mod load;
pub mod looping;
pub mod machine;
pub mod pages;
pub mod process;
pub mod report;
pub mod senders;
pub mod settings;
pub mod shapes;
pub mod throughput;
pub mod traces;
pub mod versions;
