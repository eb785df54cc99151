//! `#[saga]`, `#[process_manager]`, `#[reactor]`, `#[enricher]` on an `impl` block.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Lit, LitInt, LitStr, Path,
    Token, Type,
};

use crate::glue;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Saga,
    ProcessManager,
    Reactor,
    Enricher,
}

/// The options of the role's attribute.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    state: Option<Type>,
    version: Option<LitInt>,
    migrate: Option<Path>,
    sends: Vec<Path>,
    emits: Vec<Path>,
    lookups: Vec<LitStr>,
    streams: bool,
}

/// What a handler's attribute says.
enum On {
    Event { effect: Effect, key: TokenStream, absent: TokenStream },
    Timer(LitStr),
    Cancel,
    Undeliverable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Start,
    StartOrHandle,
    Handle,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream, role: Role) -> TokenStream {
    try_expand(options, item, role).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_expand(options: TokenStream, item: TokenStream, role: Role) -> syn::Result<TokenStream> {
    let options = parse_options(options, role)?;
    let mut block: ItemImpl = syn::parse2(item)?;
    let plugin = block.self_ty.clone();
    let mut handlers = Vec::new();
    for item in &mut block.items {
        if let ImplItem::Fn(function) = item
            && let Some(on) = take_attribute(function, role)?
        {
            handlers.push((on, function.clone()));
        }
    }
    if handlers.is_empty() {
        let text = "a plugin needs a handler: a function with #[on(key = \"/orderId\")]";
        return Err(syn::Error::new(plugin.span(), text));
    }
    let arms = arms(&handlers, &options, role)?;
    let subscriptions = subscriptions(&handlers)?;
    let manifest = manifest(&options, role, &subscriptions);
    let migrate = migrate(&options);
    let (sends, emits) = (&options.sends, &options.emits);
    let glue = glue::component(&plugin, role);
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
        #block

        #(impl ::sagabox_sdk::Sends<#sends> for #plugin {})*
        #(impl ::sagabox_sdk::Emits<#emits> for #plugin {})*

        impl ::sagabox_sdk::raw::Plugin for #plugin {
            fn manifest() -> ::sagabox_sdk::raw::Manifest { #manifest }

            fn handle(
                event: ::sagabox_sdk::raw::RawEvent,
                state: ::core::option::Option<::sagabox_sdk::raw::State>,
                context: ::sagabox_sdk::raw::RawContext,
            ) -> ::core::result::Result<::sagabox_sdk::raw::Reply, ::sagabox_sdk::raw::Failure> {
                let mut ctx = ::sagabox_sdk::Ctx::<#plugin>::new(event, context);
                let event_type = ::std::string::String::from(ctx.event().event_type.as_str());
                let result: ::sagabox_sdk::Result<::core::option::Option<::std::vec::Vec<u8>>> =
                    (|| { #arms })();
                ctx.reply(result)
            }

            fn migrate(
                state: ::sagabox_sdk::raw::State,
                to: u32,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                #migrate
            }
        }

        #glue
    })
}

fn parse_options(tokens: TokenStream, role: Role) -> syn::Result<Options> {
    let mut options = Options::default();
    let paths = |meta: &syn::meta::ParseNestedMeta| -> syn::Result<Vec<Path>> {
        let content;
        syn::parenthesized!(content in meta.input);
        Ok(Punctuated::<Path, Token![,]>::parse_terminated(&content)?.into_iter().collect())
    };
    let span = tokens.span();
    let parser = syn::meta::parser(|meta| {
        let path = meta.path.clone();
        let is = |name: &str| path.is_ident(name);
        if is("name") {
            options.name = Some(meta.value()?.parse()?);
        } else if is("sends") && role != Role::Enricher {
            options.sends = paths(&meta)?;
        } else if is("emits") && role != Role::Saga {
            options.emits = paths(&meta)?;
        } else if is("lookups") {
            let content;
            syn::parenthesized!(content in meta.input);
            let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
            options.lookups = names.into_iter().collect();
        } else if is("streams") {
            options.streams = true;
        } else if is("state") && role == Role::ProcessManager {
            options.state = Some(meta.value()?.parse()?);
        } else if is("version") && role == Role::ProcessManager {
            options.version = Some(meta.value()?.parse()?);
        } else if is("migrate") && role == Role::ProcessManager {
            options.migrate = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error(
                "not an option of this role; there are name, sends(…), emits(…), lookups(…), \
                 streams and, for process managers, state, version and migrate",
            ));
        }
        Ok(())
    });
    parser.parse2(tokens)?;
    if role == Role::ProcessManager && options.state.is_none() {
        let text = "a process manager needs its state's type: #[process_manager(state = MyState)]";
        return Err(syn::Error::new(span, text));
    }
    Ok(options)
}

/// Takes `#[on(…)]` and its kin off a function.
fn take_attribute(function: &mut ImplItemFn, role: Role) -> syn::Result<Option<On>> {
    let names = ["on", "on_timer", "on_cancel", "on_undeliverable"];
    let is_ours = |attribute: &Attribute| names.iter().any(|name| attribute.path().is_ident(name));
    let Some(at) = function.attrs.iter().position(is_ours) else { return Ok(None) };
    let attribute = function.attrs.remove(at);
    if !attribute.path().is_ident("on") && role != Role::ProcessManager {
        let text = "only process managers have instances, and with them timers and cancellation";
        return Err(syn::Error::new(attribute.span(), text));
    }
    let on = if attribute.path().is_ident("on_timer") {
        On::Timer(attribute.parse_args()?)
    } else if attribute.path().is_ident("on_cancel") {
        On::Cancel
    } else if attribute.path().is_ident("on_undeliverable") {
        On::Undeliverable
    } else {
        parse_on(&attribute, role)?
    };
    Ok(Some(on))
}

fn parse_on(attribute: &Attribute, role: Role) -> syn::Result<On> {
    let mut effect = Effect::Handle;
    let mut key = None;
    let mut absent = quote!(::sagabox_sdk::raw::Absent::Ignore);
    attribute.parse_nested_meta(|meta| {
        let stateful = role == Role::ProcessManager;
        if meta.path.is_ident("start") && stateful {
            effect = Effect::Start;
        } else if meta.path.is_ident("start_or_handle") && stateful {
            effect = Effect::StartOrHandle;
        } else if meta.path.is_ident("key") {
            key = Some(parse_key(&meta.value()?.parse()?)?);
        } else if meta.path.is_ident("absent") && stateful {
            absent = parse_absent(&meta.value()?.parse()?)?;
        } else {
            return Err(meta.error(
                "expected key = …, or, for process managers, start, start_or_handle, absent = …",
            ));
        }
        Ok(())
    })?;
    let key = key.ok_or_else(|| {
        let text = "where is the correlation key? Say key = \"/orderId\" (a JSON Pointer into the \
                    data), key = subject, or key = attribute(\"name\")";
        syn::Error::new(attribute.span(), text)
    })?;
    Ok(On::Event { effect, key, absent })
}

fn parse_key(expr: &Expr) -> syn::Result<TokenStream> {
    match expr {
        Expr::Lit(literal) => {
            if let Lit::Str(pointer) = &literal.lit
                && pointer.value().starts_with('/')
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

fn parse_absent(expr: &Expr) -> syn::Result<TokenStream> {
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

/// The type of a handler's event: its first parameter, or the second if the state comes first.
fn event_type(function: &ImplItemFn, index: usize) -> syn::Result<Type> {
    match function.sig.inputs.iter().nth(index) {
        Some(FnArg::Typed(parameter)) if !matches!(&*parameter.ty, Type::Reference(_)) => {
            Ok((*parameter.ty).clone())
        }
        _ => {
            let shape = match index {
                0 => "fn handler(event: MyEvent, ctx: &mut Ctx<Self>)",
                _ => "fn handler(state: &mut MyState, event: MyEvent, ctx: &mut Ctx<Self>)",
            };
            Err(syn::Error::new(
                function.sig.span(),
                format!("a handler here has the shape {shape}"),
            ))
        }
    }
}

fn arms(handlers: &[(On, ImplItemFn)], options: &Options, role: Role) -> syn::Result<TokenStream> {
    let mut arms = TokenStream::new();
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    let state = &options.state;
    for (on, function) in handlers {
        let name = &function.sig.ident;
        let span = function.sig.span();
        let restore = quote!(::sagabox_sdk::context::restore::<#state>(state.as_ref())?);
        let arm = match on {
            On::Event { effect, .. } => {
                let is_start = *effect == Effect::Start;
                let index = usize::from(role == Role::ProcessManager && !is_start);
                let event = event_type(function, index)?;
                if seen.insert(quote!(#event).to_string(), ()).is_some() {
                    let text = format!(
                        "a second handler for `{}`; one event type has one",
                        quote!(#event)
                    );
                    return Err(syn::Error::new(span, text));
                }
                let body = event_body(name, &event, *effect, role, state.as_ref(), &restore);
                quote_spanned!(span=> if event_type == <#event as ::sagabox_sdk::Message>::TYPE { #body })
            }
            On::Timer(timer) => quote! {
                if event_type == "sagabox.timer.fired" && ctx.event().subject.as_deref() == Some(#timer) {
                    let mut state = #restore;
                    Self::#name(&mut state, &mut ctx)?;
                    return ::sagabox_sdk::context::save(&state);
                }
            },
            On::Cancel => quote! {
                if event_type == "sagabox.instance.cancelled" {
                    let mut state = #restore;
                    Self::#name(&mut state, &mut ctx)?;
                    return ::sagabox_sdk::context::save(&state);
                }
            },
            On::Undeliverable => quote! {
                if event_type == "sagabox.command.undeliverable" {
                    let mut state = #restore;
                    let command: ::sagabox_sdk::Undeliverable =
                        ::sagabox_sdk::serde_json::from_slice(&ctx.event().data)?;
                    Self::#name(&mut state, command, &mut ctx)?;
                    return ::sagabox_sdk::context::save(&state);
                }
            },
        };
        arms.extend(arm);
    }
    Ok(quote! {
        #arms
        ::core::result::Result::Err(::sagabox_sdk::Error::permanent(
            ::std::format!("the plugin has no handler for `{event_type}`"),
        ))
    })
}

fn event_body(
    name: &Ident,
    event: &Type,
    effect: Effect,
    role: Role,
    state: Option<&Type>,
    restore: &TokenStream,
) -> TokenStream {
    let parse = quote!(let event = ::sagabox_sdk::context::parse::<#event>(ctx.event())?;);
    if role != Role::ProcessManager {
        return quote! {
            #parse
            Self::#name(event, &mut ctx)?;
            return ::core::result::Result::Ok(::core::option::Option::None);
        };
    }
    let restored = match effect {
        Effect::Start => {
            return quote! {
                #parse
                let state: #state = Self::#name(event, &mut ctx)?;
                return ::sagabox_sdk::context::save(&state);
            };
        }
        Effect::StartOrHandle => quote! {
            match &state {
                ::core::option::Option::None => <#state as ::core::default::Default>::default(),
                ::core::option::Option::Some(_) => #restore,
            }
        },
        Effect::Handle => restore.clone(),
    };
    quote! {
        #parse
        let mut state = #restored;
        Self::#name(&mut state, event, &mut ctx)?;
        return ::sagabox_sdk::context::save(&state);
    }
}

fn subscriptions(handlers: &[(On, ImplItemFn)]) -> syn::Result<Vec<TokenStream>> {
    let mut subscriptions = Vec::new();
    let mut reserved: BTreeMap<&str, ()> = BTreeMap::new();
    for (on, function) in handlers {
        let reserved_type = match on {
            On::Event { effect, key, absent } => {
                let starts_first = matches!(effect, Effect::Start);
                let first = event_type(function, 0);
                let event = match first {
                    Ok(event) if starts_first || function.sig.inputs.len() == 2 => event,
                    _ => event_type(function, 1)?,
                };
                let effect = match effect {
                    Effect::Start => quote!(Start),
                    Effect::StartOrHandle => quote!(StartOrHandle),
                    Effect::Handle => quote!(Handle),
                };
                subscriptions.push(quote! {
                    ::sagabox_sdk::raw::Subscription {
                        event_type: <#event as ::sagabox_sdk::Message>::TYPE,
                        key: #key,
                        effect: ::sagabox_sdk::raw::Effect::#effect,
                        absent: #absent,
                    }
                });
                continue;
            }
            On::Timer(_) => "sagabox.timer.fired",
            On::Cancel => "sagabox.instance.cancelled",
            On::Undeliverable => "sagabox.command.undeliverable",
        };
        if reserved.insert(reserved_type, ()).is_none() {
            subscriptions.push(quote! {
                ::sagabox_sdk::raw::Subscription {
                    event_type: #reserved_type,
                    key: ::sagabox_sdk::raw::Correlation::Instance,
                    effect: ::sagabox_sdk::raw::Effect::Handle,
                    absent: ::sagabox_sdk::raw::Absent::Ignore,
                }
            });
        }
    }
    Ok(subscriptions)
}

fn manifest(options: &Options, role: Role, subscriptions: &[TokenStream]) -> TokenStream {
    let (sends, emits, lookups) = (&options.sends, &options.emits, &options.lookups);
    let streams = options.streams;
    let name = match &options.name {
        Some(name) => quote!(#name),
        None => quote!(::core::env!("CARGO_PKG_NAME")),
    };
    let version = match (role, &options.version) {
        (Role::ProcessManager, Some(version)) => quote!(#version),
        (Role::ProcessManager, None) => quote!(1),
        _ => quote!(0),
    };
    quote! {
        ::sagabox_sdk::raw::Manifest {
            name: #name,
            version: ::core::env!("CARGO_PKG_VERSION"),
            description: ::core::env!("CARGO_PKG_DESCRIPTION"),
            subscriptions: ::std::vec![#(#subscriptions),*],
            commands: ::std::vec![#(<#sends as ::sagabox_sdk::Message>::TYPE),*],
            events: ::std::vec![#(<#emits as ::sagabox_sdk::Message>::TYPE),*],
            lookups: ::std::vec![#(#lookups),*],
            streams: #streams,
            state_version: #version,
        }
    }
}

fn migrate(options: &Options) -> TokenStream {
    let Some(state) = &options.state else {
        return quote! {
            let _ = (state, to);
            ::core::result::Result::Err("the role has no state".into())
        };
    };
    let convert = match &options.migrate {
        Some(function) => quote! {
            let converted = ::sagabox_sdk::state::convert(&state, to, #function)?;
            if to == own {
                return ::sagabox_sdk::state::read_again::<#state>(&converted);
            }
            ::core::result::Result::Ok(converted)
        },
        None => quote! {
            ::core::result::Result::Err(::sagabox_sdk::state::unknown(&state, to))
        },
    };
    quote! {
        let own = <Self as ::sagabox_sdk::raw::Plugin>::manifest().state_version;
        if state.version == to && to == own {
            return ::sagabox_sdk::state::read_again::<#state>(&state.data);
        }
        #convert
    }
}
