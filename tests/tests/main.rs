//! The black-box tests: the real binary, over HTTP, killed and started again.
//!
//! One test binary, because each further one costs seconds of linking. They need
//! the binary and the built plugins, which `./dev test` makes first.

mod access;
mod authoring;
mod authors;
mod backtest;
mod backtest_outcomes;
mod backup;
mod bench;
mod cached;
mod candidates;
mod chaos;
mod conformance;
mod dead_letters;
mod dev;
mod disk_full;
mod dist;
mod drain;
mod examples;
mod fields;
mod hot;
mod identity_provider;
mod ingest;
mod kept;
mod keys;
mod languages;
mod layout;
mod licences;
mod lists;
mod loading;
mod lookups;
mod metrics;
mod mistakes;
mod monitoring;
mod openapi;
mod order_management;
mod pages;
mod payloads;
mod queues;
mod readme;
mod refusals;
mod replay;
mod retention;
mod sandbox;
mod scripts;
mod service;
mod sessions;
mod simulation;
mod sinks;
mod stopping;
mod store_files;
mod telemetry;
mod terminal;
mod tls;
mod trust;
