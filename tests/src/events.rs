//! `CloudEvents` for tests: made, read from files, repeated, shuffled.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

/// One event from the shop.
pub fn event(id: &str, event_type: &str, subject: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/test",
        "type": event_type,
        "subject": subject,
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// The event that makes the order saga send one `InitializeOrder`.
pub fn cart_finalized(id: &str, cart: &str) -> Value {
    let items = json!([{"productId": "mug", "quantity": 2}]);
    let data = json!({"cartId": cart, "clientId": "c-1", "productItems": items, "totalPrice": 19});
    event(id, "CartFinalized", cart, &data)
}

/// Reads one JSON object a line.
///
/// # Errors
/// If the file cannot be read, or names the line that is no JSON.
pub fn read_ndjson(path: &Path) -> Result<Vec<Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse_ndjson(&text).with_context(|| path.display().to_string())
}

fn parse_ndjson(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(n, line)| serde_json::from_str(line).with_context(|| format!("line {}", n + 1)))
        .collect()
}

/// Turns an event log in CSV into events, with the example's own script.
///
/// # Errors
/// If the script fails, with what it said.
pub fn from_csv(csv: &Path) -> Result<Vec<Value>> {
    let script = crate::paths::example("order-management").join("to-cloudevents");
    let output = Command::new(&script)
        .arg(csv)
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse_ndjson(std::str::from_utf8(&output.stdout)?)
}

/// Every event twice, the second right behind the first.
pub fn twice(events: &[Value]) -> Vec<Value> {
    events.iter().flat_map(|event| [event.clone(), event.clone()]).collect()
}

/// Shuffles within windows, as networks do. The seed makes it the same every time.
pub fn shuffled(events: &[Value], window: usize, seed: u64) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut shuffled = events.to_vec();
    for chunk in shuffled.chunks_mut(window) {
        chunk.shuffle(&mut random);
    }
    shuffled
}
