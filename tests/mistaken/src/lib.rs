//! The mistakes that authors make with the SDK and that no compiler finds: the host must say
//! what went wrong, and where.

use sagabox_sdk::prelude::*;

#[event(type = "mistake", subject = order_id)]
pub struct Mistake {
    pub order_id: String,
    pub what: String,
    #[serde(default)]
    pub count: u32,
}

#[event(type = "confession", subject = order_id)]
pub struct Confession {
    pub order_id: String,
}

/// `disagreeing` knows one more way.
#[event(type = "alibi", subject = order_id)]
pub struct Alibi {
    pub order_id: String,
    pub by: Way,
}

#[data]
pub enum Way {
    Mail,
    Phone,
}

#[event(type = "denial", subject = order_id)]
pub struct Denial {
    pub order_id: String,
}

#[command(subject = order_id)]
pub struct Weigh {
    pub order_id: String,
    pub weights: Vec<f64>,
}

#[data]
pub struct Order {
    pub order_id: String,
    pub count: u32,
    pub share: Option<f64>,
}

pub struct Mistaken;

#[process_manager(state = Order, sends(Weigh), fields(count = "/count", share = "/shares"))]
impl Mistaken {
    #[on(start, key = "/orderId")]
    fn mistake(event: Mistake, ctx: &mut Ctx<Self>) -> Result<Order> {
        let Mistake { order_id, what, count } = event;
        let mut order = Order { order_id: order_id.clone(), count, share: None };
        match what.as_str() {
            "panic" => panic!("the amount of {order_id} is missing"),
            "overflow" => order.count -= 1,
            "nan" => order.share = Some(f64::from(count) / f64::from(count)),
            "infinite weight" => {
                let weights = vec![1.0, 1.0 / f64::from(count)];
                ctx.send(Weigh { order_id, weights })?;
            }
            "loop" => loop {
                std::hint::black_box(count);
            },
            "print" => {
                println!("printed by {order_id}");
                log::warn!("warned by {order_id}");
                ctx.log(format!("logged by {order_id}"));
                elsewhere(&order_id);
                ctx.send(Weigh { order_id, weights: vec![dbg!(2.5)] })?;
            }
            other => return Err(Error::permanent(format!("no mistake is called {other}"))),
        }
        Ok(order)
    }

    #[on(key = "/orderId")]
    fn alibi(order: &mut Order, event: Alibi, _: &mut Ctx<Self>) -> Result {
        order.count += u32::from(event.by == Way::Mail);
        Ok(())
    }

    /// Its key is at a place that the event does not have.
    #[on(key = "/order_id")]
    fn denial(order: &mut Order, event: Denial, _: &mut Ctx<Self>) -> Result {
        order.order_id = event.order_id;
        Ok(())
    }

    /// From the shop alone.
    #[on(start, key = "/orderId", source = "/shop")]
    fn confession(event: Confession, ctx: &mut Ctx<Self>) -> Result<Order> {
        ctx.send(Weigh { order_id: event.order_id.clone(), weights: vec![] })?;
        Ok(Order { order_id: event.order_id, count: 0, share: None })
    }
}

fn elsewhere(order_id: &str) {
    use sagabox_sdk::println;

    println!("printed elsewhere by {order_id}");
}
