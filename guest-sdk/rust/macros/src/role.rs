//! `#[saga]`, `#[process_manager]`, `#[reactor]`, `#[enricher]` on an `impl` block.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{ImplItem, ItemImpl, Type};

use crate::handlers::{self, Handler};
use crate::options::{self, Options};
use crate::{dispatch, glue, print};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Saga,
    ProcessManager,
    Reactor,
    Enricher,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream, role: Role) -> TokenStream {
    try_expand(options, item, role).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_expand(options: TokenStream, item: TokenStream, role: Role) -> syn::Result<TokenStream> {
    let options = options::parse(options, role)?;
    let mut block: ItemImpl = syn::parse2(print::to_log(item))?;
    let plugin = block.self_ty.clone();
    let mut handlers = Vec::new();
    for item in &mut block.items {
        if let ImplItem::Fn(function) = item {
            handlers.extend(handlers::take(function, role)?);
        }
    }
    if handlers.is_empty() {
        let text = "a plugin needs a handler: a function with #[on(key = \"/orderId\")]";
        return Err(syn::Error::new(plugin.span(), text));
    }
    let arms = dispatch::arms(&handlers, &options, role)?;
    let manifest = manifest(&handlers, &options, role);
    let migrate = migrate(&options);
    let declared = declared(&plugin, &handlers, &options, role);
    let distinct = dispatch::distinct(&handlers, role);
    let glue = glue::component(&plugin, role);
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
        #block

        #declared
        #distinct

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

/// What the compiler looks at when the plugin sends, emits, sets a timer or reads settings.
fn declared(plugin: &Type, handlers: &[Handler], options: &Options, role: Role) -> TokenStream {
    let Options { sends, emits, .. } = options;
    let timers = dispatch::timers(handlers, role);
    let config = options.config.as_ref().map(|config| {
        quote! {
            impl ::sagabox_sdk::Configured<#config> for #plugin {}
        }
    });
    quote! {
        #(impl ::sagabox_sdk::Sends<#sends> for #plugin {})*
        #(impl ::sagabox_sdk::Emits<#emits> for #plugin {})*
        #(impl ::sagabox_sdk::HandlesTimer<#timers> for #plugin {})*
        const _: () = {
            use ::sagabox_sdk::message::{Nothing, NothingElse};
            impl ::sagabox_sdk::Sends<Nothing> for #plugin {}
            impl ::sagabox_sdk::Sends<NothingElse> for #plugin {}
            impl ::sagabox_sdk::Emits<Nothing> for #plugin {}
            impl ::sagabox_sdk::Emits<NothingElse> for #plugin {}
            impl ::sagabox_sdk::HandlesTimer<Nothing> for #plugin {}
            impl ::sagabox_sdk::HandlesTimer<NothingElse> for #plugin {}
        };
        #config
    }
}

fn manifest(handlers: &[Handler], options: &Options, role: Role) -> TokenStream {
    let Options { sends, emits, lookups, streams, .. } = options;
    let name = match &options.name {
        Some(name) => quote!(#name),
        None => quote!(::core::env!("CARGO_PKG_NAME")),
    };
    let version = match (role, &options.version) {
        (Role::ProcessManager, Some(version)) => quote!(#version),
        (Role::ProcessManager, None) => quote!(1),
        _ => quote!(0),
    };
    let subscriptions = dispatch::subscriptions(handlers, role);
    let schemas = dispatch::schemas(handlers, role);
    let (fields, summary) = options.fields_and_summary();
    let configuration_schema = options.configuration_schema();
    quote! {
        let mut subscriptions = ::std::vec::Vec::new();
        #subscriptions
        let mut schemas = ::std::vec::Vec::new();
        #schemas
        #(
            schemas.push((
                <#sends as ::sagabox_sdk::Message>::TYPE,
                <#sends as ::sagabox_sdk::Message>::schema(),
            ));
        )*
        #(
            schemas.push((
                <#emits as ::sagabox_sdk::Message>::TYPE,
                <#emits as ::sagabox_sdk::Message>::schema(),
            ));
        )*
        let fields = #fields;
        let summary = #summary;
        ::sagabox_sdk::raw::Manifest {
            name: #name,
            version: ::core::env!("CARGO_PKG_VERSION"),
            description: ::core::env!("CARGO_PKG_DESCRIPTION"),
            subscriptions,
            commands: ::std::vec![#(<#sends as ::sagabox_sdk::Message>::TYPE),*],
            events: ::std::vec![#(<#emits as ::sagabox_sdk::Message>::TYPE),*],
            lookups: ::std::vec![#(#lookups),*],
            streams: #streams,
            state_version: #version,
            schemas: ::sagabox_sdk::schema::collect(schemas),
            configuration_schema: #configuration_schema,
            fields,
            summary,
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
    let own = match &options.version {
        Some(version) => quote!(#version),
        None => quote!(1),
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
        let own: u32 = #own;
        if state.version == to && to == own {
            return ::sagabox_sdk::state::read_again::<#state>(&state.data);
        }
        #convert
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(role: Role, options: TokenStream, item: TokenStream, reason: &str) {
        let error = try_expand(options, item, role).map(drop).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    fn with(attribute: &TokenStream, parameters: &TokenStream) -> TokenStream {
        quote! { impl Plugin { #[#attribute] fn f(#parameters) -> Result { Ok(()) } } }
    }

    #[test]
    fn a_wrong_option_is_reported_with_those_that_there_are() {
        let item = || with(&quote!(on(key = "/id")), &quote!(event: Paid, ctx: &mut Ctx<Self>));
        refused(Role::Saga, quote!(emits(Paid)), item(), "a saga emits nothing");
        refused(Role::Enricher, quote!(sends(Pay)), item(), "an enricher sends nothing");
        refused(Role::Saga, quote!(state = S), item(), "for process managers, state");
        refused(Role::ProcessManager, quote!(), item(), "needs its state's type");
        let of_process = |options: TokenStream, reason: &str| {
            refused(Role::ProcessManager, quote!(state = S, #options), item(), reason);
        };
        of_process(quote!(version = 0), "versions of a state count from 1");
        of_process(quote!(unhandled = drop), "unhandled is `fail` or `ignore`");
        of_process(quote!(fields(paid)), "fields are `none`, or names with JSON Pointers");
        of_process(quote!(fields(paid = "paid")), "fields are `none`, or names with JSON Pointers");
    }

    #[test]
    fn a_wrong_attribute_of_a_handler_is_reported_with_what_is_right() {
        let of_saga = |attribute: TokenStream, reason: &str| {
            let item = with(&attribute, &quote!(event: Paid, ctx: &mut Ctx<Self>));
            refused(Role::Saga, quote!(), item, reason);
        };
        of_saga(quote!(on), "where is the correlation key?");
        of_saga(quote!(on()), "where is the correlation key?");
        of_saga(quote!(on(key = "orderId")), "a key is a JSON Pointer such as \"/orderId\"");
        of_saga(quote!(on(key = "/a~2")), "a key is a JSON Pointer such as \"/orderId\"");
        of_saga(quote!(on(key = "/id", start)), "expected key = …, source = …");
        of_saga(quote!(on(key = "/id", source = "")), "a source is \"/shop\", or prefix");
        of_saga(quote!(on_timer), "only process managers have instances");
        let of_process = |attribute: TokenStream, reason: &str| {
            let parameters = quote!(state: &mut S, event: Paid, ctx: &mut Ctx<Self>);
            refused(Role::ProcessManager, quote!(state = S), with(&attribute, &parameters), reason);
        };
        of_process(quote!(on(key = "/id", absent = hold("10"))), "absent is ignore, fail, or hold");
        of_process(quote!(on_timer("deadline")), "a timer is named by the type of its parameter");
    }

    #[test]
    fn a_handler_of_another_shape_is_reported_with_its_shape() {
        let of = |role, attribute: TokenStream, parameters: TokenStream, reason: &str| {
            let options = if role == Role::Saga { quote!() } else { quote!(state = S) };
            refused(role, options, with(&attribute, &parameters), reason);
        };
        let (saga, process) = (Role::Saga, Role::ProcessManager);
        let on = || quote!(on(key = "/id"));
        let shape =
            "this handler has the shape fn f(event: MyEvent, ctx: &mut Ctx<Self>) -> Result";
        of(saga, on(), quote!(event: Paid), shape);
        of(saga, on(), quote!(event: &Paid, ctx: &mut Ctx<Self>), shape);
        of(saga, on(), quote!(&self, ctx: &mut Ctx<Self>), shape);
        let with_state = "fn f(state: &mut MyState, event: MyEvent, ctx: &mut Ctx<Self>) -> Result";
        of(process, on(), quote!(event: Paid, ctx: &mut Ctx<Self>), with_state);
        of(process, on(), quote!(state: S, event: Paid, ctx: &mut Ctx<Self>), with_state);
        let starts = "fn f(event: MyEvent, ctx: &mut Ctx<Self>) -> Result<MyState>";
        let on_start = quote!(on(start, key = "/id"));
        of(process, on_start, quote!(state: &mut S, event: Paid, ctx: &mut Ctx<Self>), starts);
        of(process, quote!(on_timer), quote!(state: &mut S, ctx: &mut Ctx<Self>), "timer: MyTimer");
        of(
            process,
            quote!(on_cancel),
            quote!(ctx: &mut Ctx<Self>),
            "fn f(state: &mut MyState, ctx",
        );
        of(
            process,
            quote!(on_undeliverable),
            quote!(state: &mut S, ctx: &mut Ctx<Self>),
            "Undeliverable",
        );
    }

    #[test]
    fn a_type_has_one_handler_and_a_plugin_has_a_handler() {
        let item = quote! {
            impl Plugin {
                #[on(key = "/id")]
                fn one(event: Paid, ctx: &mut Ctx<Self>) -> Result { Ok(()) }
                #[on(key = "/id")]
                fn two(event: Paid, ctx: &mut Ctx<Self>) -> Result { Ok(()) }
            }
        };
        refused(Role::Saga, quote!(), item, "a second handler for `Paid`; one type has one");
        refused(Role::Saga, quote!(), quote!(impl Plugin {}), "a plugin needs a handler");
    }
}
