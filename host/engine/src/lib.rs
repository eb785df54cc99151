//! The engine of Sagabox. Knows neither SQL, nor wasm, nor HTTP: those stand
//! behind the seams [`store::Store`], [`handler::Handler`], [`lookup::Lookup`]
//! and [`transport::Transport`].

pub mod engine;
pub mod handler;
pub mod lookup;
pub mod model;
pub mod store;
pub mod transport;
