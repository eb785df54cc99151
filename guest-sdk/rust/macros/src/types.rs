//! `#[event]`, `#[command]`, `#[data]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Ident, Item, ItemStruct, LitStr};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Command,
}

pub(crate) fn message(options: TokenStream, item: TokenStream, kind: Kind) -> TokenStream {
    try_message(options, item, kind).unwrap_or_else(syn::Error::into_compile_error)
}

fn try_message(options: TokenStream, item: TokenStream, kind: Kind) -> syn::Result<TokenStream> {
    let item: ItemStruct = syn::parse2(item)?;
    let name = &item.ident;
    let mut message_type = LitStr::new(&name.to_string(), name.span());
    let mut subject = None;
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("type") {
            message_type = meta.value()?.parse()?;
            Ok(())
        } else if meta.path.is_ident("subject") {
            subject = Some(meta.value()?.parse::<Ident>()?);
            Ok(())
        } else {
            Err(meta.error("expected `type = \"…\"` or `subject = field`"))
        }
    });
    syn::parse::Parser::parse2(parser, options)?;
    let subject = subject.map(|field| {
        quote! {
            fn subject(&self) -> ::core::option::Option<::std::string::String> {
                ::core::option::Option::Some(::std::string::ToString::to_string(&self.#field))
            }
        }
    });
    let marker = match kind {
        Kind::Event => quote!(impl ::sagabox_sdk::Event for #name {}),
        Kind::Command => quote!(impl ::sagabox_sdk::Command for #name {}),
    };
    let derives = derives();
    Ok(quote! {
        #derives
        #item
        impl ::sagabox_sdk::Message for #name {
            const TYPE: &'static str = #message_type;
            #subject
        }
        #marker
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

fn derives() -> TokenStream {
    quote! {
        #[derive(
            Clone, Debug, PartialEq,
            ::sagabox_sdk::serde::Serialize, ::sagabox_sdk::serde::Deserialize,
        )]
        #[serde(crate = "::sagabox_sdk::serde", rename_all = "camelCase")]
    }
}
