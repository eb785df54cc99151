//! `#[event]`, `#[command]`, `#[one_of]`, `#[data]`, `#[timer]`, `#[config]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Fields, Ident, Item, ItemEnum, ItemStruct, LitStr, Type};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Command,
}

pub(crate) fn message(options: TokenStream, item: TokenStream, kind: Kind) -> TokenStream {
    try_message(options, item, kind).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_message(options: TokenStream, item: TokenStream, kind: Kind) -> syn::Result<TokenStream> {
    let (name, text) = match kind {
        Kind::Event => {
            ("event", "#[event] is for a struct; of several events, #[one_of] makes one")
        }
        Kind::Command => ("command", "#[command] is for a struct"),
    };
    let item = parse_struct(item, text)?;
    let own = &item.ident;
    let mut message_type = LitStr::new(&own.to_string(), own.span());
    let (mut subject, mut is_raw) = (None, false);
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("type") {
            message_type = meta.value()?.parse()?;
            Ok(())
        } else if meta.path.is_ident("raw") {
            is_raw = true;
            Ok(())
        } else if meta.path.is_ident("subject") {
            subject = Some(meta.value()?.parse::<Ident>()?);
            Ok(())
        } else {
            let text = format!("#[{name}] takes `type = \"…\"`, `subject = field` and `raw`");
            Err(meta.error(text))
        }
    });
    syn::parse::Parser::parse2(parser, options)?;
    let subject = subject.map(|field| has_field(&item, field)).transpose()?;
    let subject = subject.map(|field| {
        quote! {
            fn subject(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
            }
        }
    });
    let (marker, direction) = match kind {
        Kind::Event => (event_marker(own), quote!(read)),
        Kind::Command => (quote!(impl ::sagabox_sdk::Command for #own {}), quote!(written)),
    };
    // What it looks like on the way is not what the struct looks like.
    let schema = if is_raw { TokenStream::new() } else { schema(own, &direction) };
    let derives = derives();
    Ok(quote! {
        #derives
        #item
        impl ::sagabox_sdk::Message for #own {
            const TYPE: &'static str = #message_type;
            #subject
            #schema
        }
        #marker
    })
}

fn event_marker(own: &Ident) -> TokenStream {
    quote! {
        impl ::sagabox_sdk::Event for #own {}

        impl ::sagabox_sdk::Incoming for #own {
            const TYPES: &'static [&'static str] = &[<#own as ::sagabox_sdk::Message>::TYPE];

            fn read(event: &::sagabox_sdk::RawEvent) -> ::sagabox_sdk::Result<Self> {
                ::sagabox_sdk::message::parse(event)
            }

            fn schemas() -> ::std::vec::Vec<(
                &'static str,
                ::core::option::Option<::std::string::String>,
            )> {
                ::std::vec![(
                    <#own as ::sagabox_sdk::Message>::TYPE,
                    <#own as ::sagabox_sdk::Message>::schema(),
                )]
            }
        }
    }
}

fn parse_struct(item: TokenStream, text: &str) -> syn::Result<ItemStruct> {
    match syn::parse2::<Item>(item)? {
        Item::Struct(item) => Ok(item),
        other => Err(syn::Error::new_spanned(other, text)),
    }
}

fn has_field(item: &ItemStruct, field: Ident) -> syn::Result<Ident> {
    let names: Vec<String> =
        item.fields.iter().filter_map(|own| own.ident.as_ref()).map(Ident::to_string).collect();
    match names.iter().any(|name| field == name) {
        true => Ok(field),
        false => {
            let text =
                format!("`{}` has no field `{field}`; it has {}", item.ident, names.join(", "));
            Err(syn::Error::new(field.span(), text))
        }
    }
}

pub(crate) fn one_of(item: TokenStream) -> TokenStream {
    try_one_of(item).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_one_of(item: TokenStream) -> syn::Result<TokenStream> {
    let text =
        "#[one_of] is for an enum of events: enum Change { Paid(OrderPaid), Sent(OrderSent) }";
    let item = match syn::parse2::<Item>(item)? {
        Item::Enum(item) => item,
        other => return Err(syn::Error::new_spanned(other, text)),
    };
    let ItemEnum { ident: own, variants, .. } = &item;
    let (mut names, mut types): (Vec<&Ident>, Vec<&Type>) = (Vec::new(), Vec::new());
    for variant in variants {
        match &variant.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                names.push(&variant.ident);
                types.push(&fields.unnamed[0].ty);
            }
            _ => return Err(syn::Error::new_spanned(variant, text)),
        }
    }
    if names.is_empty() {
        return Err(syn::Error::new_spanned(own, text));
    }
    Ok(quote! {
        #[derive(Clone, Debug, PartialEq)]
        #item

        impl ::sagabox_sdk::Incoming for #own {
            const TYPES: &'static [&'static str] =
                &[#(<#types as ::sagabox_sdk::Message>::TYPE),*];

            fn read(event: &::sagabox_sdk::RawEvent) -> ::sagabox_sdk::Result<Self> {
                #(
                    if event.event_type == <#types as ::sagabox_sdk::Message>::TYPE {
                        return ::sagabox_sdk::message::parse::<#types>(event).map(Self::#names);
                    }
                )*
                ::core::result::Result::Err(::sagabox_sdk::Error::permanent(
                    "the event is of another type",
                ))
            }

            fn schemas() -> ::std::vec::Vec<(
                &'static str,
                ::core::option::Option<::std::string::String>,
            )> {
                ::std::vec![#((
                    <#types as ::sagabox_sdk::Message>::TYPE,
                    <#types as ::sagabox_sdk::Message>::schema(),
                )),*]
            }
        }
    })
}

pub(crate) fn data(item: TokenStream) -> TokenStream {
    match syn::parse2::<Item>(item) {
        Ok(item @ (Item::Struct(_) | Item::Enum(_))) => {
            let derives = derives();
            quote!(#derives #item)
        }
        Ok(other) => syn::Error::new_spanned(other, "#[data] is for a struct or an enum")
            .into_compile_error(),
        Err(error) => error.into_compile_error(),
    }
}

pub(crate) fn timer(options: TokenStream, item: TokenStream) -> TokenStream {
    try_timer(options, item).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_timer(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item = parse_struct(item, "#[timer] is for a struct: #[timer] struct Deadline;")?;
    let own = &item.ident;
    let mut name = LitStr::new(&kebab(&own.to_string()), own.span());
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("name") {
            name = meta.value()?.parse()?;
            Ok(())
        } else {
            Err(meta.error("#[timer] takes `name = \"…\"`"))
        }
    });
    syn::parse::Parser::parse2(parser, options)?;
    Ok(quote! {
        #[derive(
            Clone, Debug, PartialEq,
            ::sagabox_sdk::serde::Serialize, ::sagabox_sdk::serde::Deserialize,
        )]
        #[serde(crate = "::sagabox_sdk::serde", rename_all = "camelCase")]
        #item
        impl ::sagabox_sdk::Timer for #own {
            const NAME: &'static str = #name;
        }
    })
}

/// `PaymentDeadline` is `payment-deadline`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (at, character) in name.chars().enumerate() {
        if character.is_uppercase() && at > 0 {
            kebab.push('-');
        }
        kebab.extend(character.to_lowercase());
    }
    kebab
}

pub(crate) fn config(item: TokenStream) -> TokenStream {
    let item = match parse_struct(item, "#[config] is for a struct") {
        Ok(item) => item,
        Err(error) => return error.into_compile_error(),
    };
    let own = &item.ident;
    let (derive, schema) = (derive_schema(), schema(own, &quote!(read)));
    quote! {
        #[derive(
            Clone, Debug, PartialEq,
            ::sagabox_sdk::serde::Serialize, ::sagabox_sdk::serde::Deserialize,
        )]
        #derive
        #[serde(crate = "::sagabox_sdk::serde", deny_unknown_fields)]
        #item
        impl ::sagabox_sdk::Config for #own {
            #schema
        }
    }
}

fn derives() -> TokenStream {
    let schema = derive_schema();
    quote! {
        #[derive(
            Clone, Debug, PartialEq,
            ::sagabox_sdk::serde::Serialize, ::sagabox_sdk::serde::Deserialize,
        )]
        #schema
        #[serde(crate = "::sagabox_sdk::serde", rename_all = "camelCase")]
    }
}

fn derive_schema() -> TokenStream {
    if !cfg!(feature = "schemas") {
        return TokenStream::new();
    }
    quote! {
        #[derive(::sagabox_sdk::schemars::JsonSchema)]
        #[schemars(crate = "::sagabox_sdk::schemars")]
    }
}

fn schema(own: &Ident, direction: &TokenStream) -> TokenStream {
    if !cfg!(feature = "schemas") {
        return TokenStream::new();
    }
    quote! {
        fn schema() -> ::core::option::Option<::std::string::String> {
            ::sagabox_sdk::schema::#direction::<#own>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(expanded: &TokenStream, reason: &str) {
        let expanded = expanded.to_string();
        assert!(expanded.contains("compile_error") && expanded.contains(reason), "{expanded}");
    }

    #[test]
    fn a_wrong_use_is_reported_with_what_is_right() {
        let item = quote!(
            struct Paid {
                order_id: String,
                at: String,
            }
        );
        let event = |options| message(options, item.clone(), Kind::Event);
        refused(&event(quote!(subject = id)), "`Paid` has no field `id`; it has order_id, at");
        refused(
            &event(quote!(typ = "paid")),
            "#[event] takes `type = \\\"…\\\"`, `subject = field` and `raw`",
        );
        refused(
            &message(
                quote!(),
                quote!(
                    enum A {
                        B,
                    }
                ),
                Kind::Command,
            ),
            "is for a struct",
        );
    }

    #[test]
    fn a_wrong_item_is_reported_with_what_is_right() {
        for wrong in [
            quote!(
                struct A;
            ),
            quote!(
                enum A {
                    B,
                }
            ),
            quote!(
                enum A {}
            ),
            quote!(
                enum A {
                    B(C, D),
                }
            ),
        ] {
            refused(&one_of(wrong), "#[one_of] is for an enum of events");
        }
        refused(
            &data(quote!(
                fn f() {}
            )),
            "#[data] is for a struct or an enum",
        );
        refused(
            &timer(
                quote!(nam = "x"),
                quote!(
                    struct T;
                ),
            ),
            "#[timer] takes `name",
        );
        refused(
            &timer(
                quote!(),
                quote!(
                    enum T {}
                ),
            ),
            "#[timer] struct Deadline;",
        );
        refused(
            &config(quote!(
                enum C {}
            )),
            "#[config] is for a struct",
        );
    }

    #[test]
    fn a_timer_is_called_after_its_struct() {
        assert_eq!(kebab("PaymentDeadline"), "payment-deadline");
        assert_eq!(kebab("Deadline"), "deadline");
    }
}
