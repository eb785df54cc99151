//! The functions with `#[on(…)]` and its kin: what their attributes say, and what they take.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, FnArg, ImplItemFn, Lit, LitStr, Type};

use crate::options::strings;
use crate::role::Role;

/// A function, and what its attribute says.
pub(crate) struct Handler {
    pub(crate) on: On,
    pub(crate) function: ImplItemFn,
}

pub(crate) enum On {
    Event(OnEvent),
    Timer,
    Cancel,
    Undeliverable,
}

pub(crate) struct OnEvent {
    pub(crate) effect: Effect,
    pub(crate) key: TokenStream,
    pub(crate) absent: TokenStream,
    pub(crate) source: TokenStream,
    /// Types by name, of a handler that takes the event as it came.
    pub(crate) types: Vec<LitStr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Start,
    StartOrHandle,
    Handle,
}

/// Takes `#[on(…)]` and its kin off a function.
pub(crate) fn take(function: &mut ImplItemFn, role: Role) -> syn::Result<Option<Handler>> {
    let names = ["on", "on_timer", "on_cancel", "on_undeliverable"];
    let is_ours = |attribute: &Attribute| names.iter().any(|name| attribute.path().is_ident(name));
    let Some(at) = function.attrs.iter().position(is_ours) else { return Ok(None) };
    let attribute = function.attrs.remove(at);
    if !attribute.path().is_ident("on") && role != Role::ProcessManager {
        let text = "only process managers have instances, and with them timers and cancellation";
        return Err(syn::Error::new(attribute.span(), text));
    }
    if function.attrs.iter().any(is_ours) {
        let text = "one function has one of these attributes; let it call another function";
        return Err(syn::Error::new(function.sig.span(), text));
    }
    let on = if attribute.path().is_ident("on") {
        On::Event(on_event(&attribute, role)?)
    } else {
        if !matches!(attribute.meta, syn::Meta::Path(_)) {
            let text = "it takes no options; a timer is named by the type of its parameter: \
                        fn late(state: &mut MyState, timer: Deadline, ctx: &mut Ctx<Self>)";
            return Err(syn::Error::new(attribute.span(), text));
        }
        match attribute.path() {
            path if path.is_ident("on_timer") => On::Timer,
            path if path.is_ident("on_cancel") => On::Cancel,
            _ => On::Undeliverable,
        }
    };
    let handler = Handler { on, function: function.clone() };
    handler.check_shape(role)?;
    Ok(Some(handler))
}

fn on_event(attribute: &Attribute, role: Role) -> syn::Result<OnEvent> {
    let mut on = OnEvent {
        effect: Effect::Handle,
        key: TokenStream::new(),
        absent: quote!(::sagabox_sdk::raw::Absent::Ignore),
        source: quote!(::sagabox_sdk::raw::Source::Any),
        types: Vec::new(),
    };
    if !matches!(attribute.meta, syn::Meta::Path(_)) {
        attribute.parse_nested_meta(|meta| on_option(&mut on, &meta, role))?;
    }
    if on.key.is_empty() {
        let text = "where is the correlation key? Say key = \"/orderId\" (a JSON Pointer into the \
                    data), key = subject, or key = attribute(\"name\")";
        return Err(syn::Error::new(attribute.span(), text));
    }
    Ok(on)
}

fn on_option(on: &mut OnEvent, meta: &ParseNestedMeta<'_>, role: Role) -> syn::Result<()> {
    let stateful = role == Role::ProcessManager;
    if meta.path.is_ident("start") && stateful {
        on.effect = Effect::Start;
    } else if meta.path.is_ident("start_or_handle") && stateful {
        on.effect = Effect::StartOrHandle;
    } else if meta.path.is_ident("key") {
        on.key = key(&meta.value()?.parse()?)?;
    } else if meta.path.is_ident("absent") && stateful {
        on.absent = absent(&meta.value()?.parse()?)?;
    } else if meta.path.is_ident("source") {
        on.source = source(&meta.value()?.parse()?)?;
    } else if meta.path.is_ident("types") {
        on.types = strings(meta)?;
    } else {
        return Err(meta.error(
            "expected key = …, source = …, types(…) or, for process managers, start, \
             start_or_handle, absent = …",
        ));
    }
    Ok(())
}

fn key(expr: &Expr) -> syn::Result<TokenStream> {
    match expr {
        Expr::Lit(literal) => {
            if let Lit::Str(pointer) = &literal.lit
                && is_pointer(&pointer.value())
            {
                return Ok(quote!(::sagabox_sdk::raw::Correlation::Pointer(#pointer)));
            }
        }
        Expr::Path(path) if path.path.is_ident("subject") => {
            return Ok(quote!(::sagabox_sdk::raw::Correlation::Subject));
        }
        Expr::Call(call) => {
            if let Expr::Path(path) = &*call.func
                && path.path.is_ident("attribute")
                && let Some(name) = call.args.first()
            {
                return Ok(quote!(::sagabox_sdk::raw::Correlation::Attribute(#name)));
            }
        }
        _ => {}
    }
    let text = "a key is a JSON Pointer such as \"/orderId\", subject, or attribute(\"name\")";
    Err(syn::Error::new(expr.span(), text))
}

/// Source: RFC 6901, sections 3 and 4.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

/// `source = "/shop"`, or `source = prefix("/shop/")`.
fn source(expr: &Expr) -> syn::Result<TokenStream> {
    match expr {
        Expr::Lit(literal) if matches!(&literal.lit, Lit::Str(text) if !text.value().is_empty()) => {
            return Ok(quote!(::sagabox_sdk::raw::Source::Exactly(#literal)));
        }
        Expr::Call(call) => {
            if let Expr::Path(path) = &*call.func
                && path.path.is_ident("prefix")
                && let Some(prefix) = call.args.first()
            {
                return Ok(quote!(::sagabox_sdk::raw::Source::Prefix(#prefix)));
            }
        }
        _ => {}
    }
    Err(syn::Error::new(expr.span(), "a source is \"/shop\", or prefix(\"/shop/\")"))
}

fn absent(expr: &Expr) -> syn::Result<TokenStream> {
    match expr {
        Expr::Path(path) if path.path.is_ident("ignore") => {
            return Ok(quote!(::sagabox_sdk::raw::Absent::Ignore));
        }
        Expr::Path(path) if path.path.is_ident("fail") => {
            return Ok(quote!(::sagabox_sdk::raw::Absent::Fail));
        }
        Expr::Call(call) => {
            if let Expr::Path(path) = &*call.func
                && path.path.is_ident("hold")
                && let Some(Expr::Lit(literal)) = call.args.first()
                && let Lit::Str(duration) = &literal.lit
                && let Some(millis) = millis(&duration.value())
            {
                return Ok(quote!(::sagabox_sdk::raw::Absent::Hold(#millis)));
            }
        }
        _ => {}
    }
    Err(syn::Error::new(
        expr.span(),
        "absent is ignore, fail, or hold(\"10m\") with ms, s, m, h or d",
    ))
}

fn millis(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..at].parse().ok()?;
    let unit = match &text[at..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

impl Handler {
    /// Where the event or the timer is among the parameters.
    fn index(&self, role: Role) -> usize {
        let starts = matches!(&self.on, On::Event(on) if on.effect == Effect::Start);
        usize::from(role == Role::ProcessManager && !starts)
    }

    /// The type of the event or timer that it takes.
    pub(crate) fn taken(&self, role: Role) -> &Type {
        match &self.function.sig.inputs[self.index(role)] {
            FnArg::Typed(parameter) => &parameter.ty,
            FnArg::Receiver(_) => unreachable!("its shape was checked"),
        }
    }

    pub(crate) fn parameters(&self) -> usize {
        self.function.sig.inputs.len()
    }

    /// Says what it must look like, if it looks different.
    fn check_shape(&self, role: Role) -> syn::Result<()> {
        let starts = matches!(&self.on, On::Event(on) if on.effect == Effect::Start);
        let of_saga = role != Role::ProcessManager;
        let shape = match &self.on {
            On::Event(_) if of_saga => "event: MyEvent, ctx: &mut Ctx<Self>) -> Result",
            On::Event(_) if starts => "event: MyEvent, ctx: &mut Ctx<Self>) -> Result<MyState>",
            On::Event(_) => "state: &mut MyState, event: MyEvent, ctx: &mut Ctx<Self>) -> Result",
            On::Timer => "state: &mut MyState, timer: MyTimer, ctx: &mut Ctx<Self>) -> Result",
            On::Cancel => "state: &mut MyState, ctx: &mut Ctx<Self>) -> Result",
            On::Undeliverable => {
                "state: &mut MyState, command: Undeliverable, ctx: &mut Ctx<Self>) -> Result"
            }
        };
        let (index, count) = (self.index(role), self.parameters());
        let counts = match &self.on {
            On::Cancel => vec![2, 3],
            _ => vec![index + 2],
        };
        let is_reference = |at: usize| match self.function.sig.inputs.iter().nth(at) {
            Some(FnArg::Typed(parameter)) => Some(matches!(&*parameter.ty, Type::Reference(_))),
            _ => None,
        };
        let has_state = index == 0 || is_reference(0) == Some(true);
        let has_taken = match (&self.on, count) {
            (On::Cancel, 2) => true,
            _ => is_reference(index) == Some(false),
        };
        let has_context = is_reference(count.saturating_sub(1)) == Some(true);
        let returns = !matches!(self.function.sig.output, syn::ReturnType::Default);
        let is_plain = self.function.sig.asyncness.is_none() && returns;
        if counts.contains(&count) && has_state && has_taken && has_context && is_plain {
            return Ok(());
        }
        let name = &self.function.sig.ident;
        let text = format!("this handler has the shape fn {name}({shape}");
        Err(syn::Error::new(self.function.sig.span(), text))
    }
}
