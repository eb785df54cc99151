//! What the attribute of a role says.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Ident, LitInt, LitStr, Path, Token, Type};

use crate::role::Role;

/// The options of the role's attribute.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) state: Option<Type>,
    pub(crate) version: Option<LitInt>,
    pub(crate) migrate: Option<Path>,
    pub(crate) config: Option<Type>,
    pub(crate) sends: Vec<Path>,
    pub(crate) emits: Vec<Path>,
    pub(crate) lookups: Vec<LitStr>,
    pub(crate) streams: bool,
    pub(crate) unhandled: Unhandled,
    pub(crate) fields: FieldsOption,
    pub(crate) summary: Option<LitStr>,
}

/// What becomes of an event of a type that no handler takes: one that an older version of the
/// plugin subscribed to, or a timer that it set.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Unhandled {
    #[default]
    Fail,
    Ignore,
}

/// Where the fields of the manifest come from.
#[derive(Default)]
pub(crate) enum FieldsOption {
    /// From the state's type.
    #[default]
    Derived,
    None,
    /// Name and pointer.
    These(Vec<(Ident, LitStr)>),
}

const KNOWN: &str = "not an option of this role; there are name, sends(…), emits(…), lookups(…), streams, \
                     config, unhandled and, for process managers, state, version, migrate, fields(…) \
                     and summary; a saga emits nothing, and an enricher sends nothing";

pub(crate) fn parse(tokens: TokenStream, role: Role) -> syn::Result<Options> {
    let mut options = Options::default();
    let span = tokens.span();
    let parser = syn::meta::parser(|meta| option(&mut options, &meta, role));
    parser.parse2(tokens)?;
    if role == Role::ProcessManager && options.state.is_none() {
        let text = "a process manager needs its state's type: #[process_manager(state = MyState)]";
        return Err(syn::Error::new(span, text));
    }
    Ok(options)
}

fn option(options: &mut Options, meta: &ParseNestedMeta<'_>, role: Role) -> syn::Result<()> {
    let path = meta.path.clone();
    let is = |name: &str| path.is_ident(name);
    let has_state = role == Role::ProcessManager;
    if is("name") {
        options.name = Some(meta.value()?.parse()?);
    } else if is("sends") && role != Role::Enricher {
        options.sends = paths(meta)?;
    } else if is("emits") && role != Role::Saga {
        options.emits = paths(meta)?;
    } else if is("lookups") {
        options.lookups = strings(meta)?;
    } else if is("streams") {
        options.streams = true;
    } else if is("config") {
        options.config = Some(meta.value()?.parse()?);
    } else if is("unhandled") {
        options.unhandled = unhandled(&meta.value()?.parse()?)?;
    } else if is("state") && has_state {
        options.state = Some(meta.value()?.parse()?);
    } else if is("version") && has_state {
        options.version = Some(version(meta.value()?.parse()?)?);
    } else if is("migrate") && has_state {
        options.migrate = Some(meta.value()?.parse()?);
    } else if is("fields") && has_state {
        options.fields = fields(meta)?;
    } else if is("summary") && has_state {
        options.summary = Some(meta.value()?.parse()?);
    } else {
        return Err(meta.error(KNOWN));
    }
    Ok(())
}

fn paths(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<Path>> {
    let content;
    syn::parenthesized!(content in meta.input);
    Ok(Punctuated::<Path, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

/// `name("a", "b")`.
pub(crate) fn strings(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<LitStr>> {
    let content;
    syn::parenthesized!(content in meta.input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn version(version: LitInt) -> syn::Result<LitInt> {
    match version.base10_parse::<u32>() {
        Ok(1..) => Ok(version),
        _ => Err(syn::Error::new(version.span(), "versions of a state count from 1")),
    }
}

fn unhandled(name: &Ident) -> syn::Result<Unhandled> {
    match name.to_string().as_str() {
        "fail" => Ok(Unhandled::Fail),
        "ignore" => Ok(Unhandled::Ignore),
        _ => Err(syn::Error::new(name.span(), "unhandled is `fail` or `ignore`")),
    }
}

/// `fields(none)`, or `fields(paid = "/paid", total = "/sum/total")`.
fn fields(meta: &ParseNestedMeta<'_>) -> syn::Result<FieldsOption> {
    let mut named = Vec::new();
    let mut none = false;
    meta.parse_nested_meta(|field| {
        let text = "fields are `none`, or names with JSON Pointers: fields(paid = \"/paid\")";
        let name = field.path.require_ident().map_err(|_| field.error(text))?.clone();
        if name == "none" && !field.input.peek(Token![=]) {
            none = true;
            return Ok(());
        }
        let pointer: LitStr = field.value().map_err(|_| field.error(text))?.parse()?;
        if !pointer.value().is_empty() && !pointer.value().starts_with('/') {
            return Err(syn::Error::new(pointer.span(), text));
        }
        named.push((name, pointer));
        Ok(())
    })?;
    Ok(if none { FieldsOption::None } else { FieldsOption::These(named) })
}

impl Options {
    /// The manifest's fields and summary.
    pub(crate) fn fields_and_summary(&self) -> (TokenStream, TokenStream) {
        let fields = match (&self.state, &self.fields) {
            (None, _) | (_, FieldsOption::None) => quote!(::std::vec::Vec::new()),
            (Some(state), FieldsOption::Derived) => quote! {{
                use ::sagabox_sdk::schema::{Described as _, Probe, Undescribed as _};
                let probe = &Probe::<#state>::new();
                ::sagabox_sdk::schema::fields(probe.described())
            }},
            (Some(_), FieldsOption::These(these)) => {
                let names = these.iter().map(|(name, _)| name.to_string());
                let pointers = these.iter().map(|(_, pointer)| pointer);
                quote! {
                    ::std::vec![#((
                        ::std::string::String::from(#names),
                        ::std::string::String::from(#pointers),
                    )),*]
                }
            }
        };
        let summary = match &self.summary {
            Some(summary) => {
                quote!(::core::option::Option::Some(::std::string::String::from(#summary)))
            }
            None => quote!(::sagabox_sdk::schema::summary(&fields)),
        };
        (fields, summary)
    }

    pub(crate) fn configuration_schema(&self) -> TokenStream {
        match &self.config {
            Some(config) => quote!(<#config as ::sagabox_sdk::Config>::schema()),
            None => quote!(::core::option::Option::None),
        }
    }
}
