//! Which handler an event goes to, and the subscriptions that follow from the handlers.

use std::collections::BTreeSet;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Type};

use crate::handlers::{Effect, Handler, On, OnEvent};
use crate::options::{Options, Unhandled};
use crate::role::Role;

/// The body that decides an event.
pub(crate) fn arms(
    handlers: &[Handler],
    options: &Options,
    role: Role,
) -> syn::Result<TokenStream> {
    let mut arms = TokenStream::new();
    let mut seen = BTreeSet::new();
    for handler in handlers {
        let span = handler.function.sig.span();
        let kind = match &handler.on {
            On::Event(on) if on.types.is_empty() => Some(handler.taken(role)),
            On::Timer => Some(handler.taken(role)),
            _ => None,
        };
        let twice =
            kind.map(|kind| quote!(#kind).to_string()).filter(|kind| !seen.insert(kind.clone()));
        if let Some(kind) = twice {
            let text = format!("a second handler for `{kind}`; one type has one");
            return Err(syn::Error::new(span, text));
        }
        arms.extend(arm(handler, options.state.as_ref(), role));
    }
    let unhandled = match options.unhandled {
        Unhandled::Fail => quote! {
            ::core::result::Result::Err(::sagabox_sdk::Error::permanent(
                ::sagabox_sdk::context::no_handler(ctx.event()),
            ))
        },
        Unhandled::Ignore => quote! {
            ::core::result::Result::Ok(::core::option::Option::None)
        },
    };
    Ok(quote!(#arms #unhandled))
}

fn arm(handler: &Handler, state: Option<&Type>, role: Role) -> TokenStream {
    let name = &handler.function.sig.ident;
    let span = handler.function.sig.span();
    let restore = quote!(::sagabox_sdk::context::restore::<#state>(state.as_ref())?);
    // With the state before the call, and stored after it.
    let with_state = |condition: TokenStream, call: TokenStream| {
        quote_spanned! {span=>
            if #condition {
                let mut state = #restore;
                #call
                return ::sagabox_sdk::context::save(&state);
            }
        }
    };
    match &handler.on {
        On::Event(on) => {
            let taken = handler.taken(role);
            let condition = match on.types.as_slice() {
                [] => quote!(<#taken as ::sagabox_sdk::Incoming>::TYPES.contains(&&*event_type)),
                types => quote!([#(#types),*].contains(&&*event_type)),
            };
            let output = handler.function.sig.output.span();
            let body = event_body((name, output), on, taken, role, state, &restore);
            quote_spanned!(span=> if #condition { #body })
        }
        On::Timer => {
            let timer = handler.taken(role);
            let condition = quote! {
                event_type == "sagabox.timer.fired"
                    && ctx.event().subject.as_deref()
                        == Some(<#timer as ::sagabox_sdk::Timer>::NAME)
            };
            let call = quote! {
                let timer = ::sagabox_sdk::context::fired::<#timer>(ctx.event())?;
                Self::#name(&mut state, timer, &mut ctx)?;
            };
            with_state(condition, call)
        }
        On::Cancel => {
            let call = match handler.parameters() {
                2 => quote!(Self::#name(&mut state, &mut ctx)?;),
                _ => quote! {
                    let cancelled = ::sagabox_sdk::context::cancelled(ctx.event());
                    Self::#name(&mut state, cancelled, &mut ctx)?;
                },
            };
            with_state(quote!(event_type == "sagabox.instance.cancelled"), call)
        }
        On::Undeliverable => {
            let call = quote! {
                let command: ::sagabox_sdk::Undeliverable =
                    ::sagabox_sdk::serde_json::from_slice(&ctx.event().data)?;
                Self::#name(&mut state, command, &mut ctx)?;
            };
            with_state(quote!(event_type == "sagabox.command.undeliverable"), call)
        }
    }
}

fn event_body(
    (name, output): (&Ident, Span),
    on: &OnEvent,
    taken: &Type,
    role: Role,
    state: Option<&Type>,
    restore: &TokenStream,
) -> TokenStream {
    let parse = match on.types.is_empty() {
        true => quote! {
            let event = <#taken as ::sagabox_sdk::Incoming>::read(ctx.event())?;
        },
        false => quote! {
            let event: #taken = ::core::clone::Clone::clone(ctx.event());
        },
    };
    if role != Role::ProcessManager {
        return quote! {
            #parse
            Self::#name(event, &mut ctx)?;
            return ::core::result::Result::Ok(::core::option::Option::None);
        };
    }
    let restored = match on.effect {
        Effect::Start => {
            // Where it returns something else, the compiler points at that.
            let call = quote_spanned! {output=>
                let started: ::sagabox_sdk::Result<#state> = Self::#name(event, &mut ctx);
            };
            return quote! {
                #parse
                #call
                return ::sagabox_sdk::context::save(&started?);
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

/// Fails to compile if two handlers take the same type of event.
pub(crate) fn distinct(handlers: &[Handler], role: Role) -> TokenStream {
    let types = handlers.iter().filter_map(|handler| match &handler.on {
        On::Event(on) => Some(types(handler, on, role)),
        _ => None,
    });
    quote! {
        const _: () = ::sagabox_sdk::message::assert_distinct(&[#(#types),*]);
    }
}

fn types(handler: &Handler, on: &OnEvent, role: Role) -> TokenStream {
    match on.types.as_slice() {
        [] => {
            let taken = handler.taken(role);
            quote!(<#taken as ::sagabox_sdk::Incoming>::TYPES)
        }
        types => quote!(&[#(#types),*]),
    }
}

/// Statements that fill `subscriptions`.
pub(crate) fn subscriptions(handlers: &[Handler], role: Role) -> TokenStream {
    let mut filled = TokenStream::new();
    let mut reserved = BTreeSet::new();
    for handler in handlers {
        let reserved_type = match &handler.on {
            On::Event(on) => {
                filled.extend(subscription(on, &types(handler, on, role)));
                continue;
            }
            On::Timer => "sagabox.timer.fired",
            On::Cancel => "sagabox.instance.cancelled",
            On::Undeliverable => "sagabox.command.undeliverable",
        };
        if reserved.insert(reserved_type) {
            filled.extend(quote! {
                subscriptions.push(::sagabox_sdk::raw::Subscription {
                    event_type: #reserved_type,
                    source: ::sagabox_sdk::raw::Source::Any,
                    key: ::sagabox_sdk::raw::Correlation::Instance,
                    effect: ::sagabox_sdk::raw::Effect::Handle,
                    absent: ::sagabox_sdk::raw::Absent::Ignore,
                });
            });
        }
    }
    filled
}

fn subscription(on: &OnEvent, types: &TokenStream) -> TokenStream {
    let OnEvent { key, absent, source, .. } = on;
    let effect = match on.effect {
        Effect::Start => quote!(Start),
        Effect::StartOrHandle => quote!(StartOrHandle),
        Effect::Handle => quote!(Handle),
    };
    quote! {
        let types: &[&'static str] = #types;
        for event_type in types {
            subscriptions.push(::sagabox_sdk::raw::Subscription {
                event_type,
                source: #source,
                key: #key,
                effect: ::sagabox_sdk::raw::Effect::#effect,
                absent: #absent,
            });
        }
    }
}

/// The schemas of what the handlers take.
pub(crate) fn schemas(handlers: &[Handler], role: Role) -> TokenStream {
    let taken = handlers.iter().filter_map(|handler| match &handler.on {
        On::Event(on) if on.types.is_empty() => Some(handler.taken(role)),
        _ => None,
    });
    quote!(#(schemas.extend(<#taken as ::sagabox_sdk::Incoming>::schemas());)*)
}

/// The timers that the plugin may set.
pub(crate) fn timers(handlers: &[Handler], role: Role) -> Vec<&Type> {
    let timers = handlers.iter().filter(|handler| matches!(handler.on, On::Timer));
    timers.map(|handler| handler.taken(role)).collect()
}
