// Written by `sagabox types`. Needs the crates serde (with `derive`) and serde_json.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The `type` of [`Paid`].
pub const PAID_TYPE: &str = "Paid";

/// Event `Paid`, taken by shop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Paid {
    #[serde(rename = "fully")]
    Fully,
    #[serde(rename = "in part")]
    InPart,
}

/// The `type` of [`OrderPlaced`].
pub const ORDER_PLACED_TYPE: &str = "order placed";

/// A customer has placed an order.
/// */ """ \ `end`
///
/// Event `order placed`, sent by shop, taken by bank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderPlaced {
    pub balance: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<serde_json::Value>,
    #[serde(rename = "is-gift", default, skip_serializing_if = "Option::is_none")]
    pub is_gift: Option<bool>,
    pub lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Box<Note>>,
    /// Unique in the shop.
    #[serde(rename = "orderId")]
    pub order_id: String,
    pub payment: Payment,
    pub place: (f64, String),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<BTreeMap<String, f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    pub r#type: OrderPlacedType2,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub class: String,
    pub sku: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Vec<Note>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Box<Note>>,
    pub text: String,
}

/// How it is paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payment {
    Card(PaymentCard),
    Cash(PaymentCash),
    StringValue(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentCard {
    pub by: PaymentCardBy,
    pub number: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PaymentCardBy {
    #[serde(rename = "card")]
    Card,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentCash {
    pub by: PaymentCashBy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PaymentCashBy {
    #[serde(rename = "cash")]
    Cash,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OrderPlacedType2 {
    #[serde(rename = "online")]
    Online,
    #[serde(rename = "in store")]
    InStore,
    #[serde(rename = "2nd")]
    N2nd,
    #[serde(rename = "Self")]
    Self_,
}

/// The `type` of [`PayNow`].
pub const PAY_NOW_TYPE: &str = "pay.now";

/// Command `pay.now`, sent by shop.
pub type PayNow = Vec<Line>;
