//! `println!` and its kin in handlers, which go nowhere in wasm, become those of the SDK, which
//! go to the host's log.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::quote_spanned;

pub(crate) fn to_log(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut written = TokenStream::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), to_log(group.stream()));
                inner.set_span(group.span());
                written.extend([TokenTree::Group(inner)]);
            }
            TokenTree::Ident(name) if is_print(name, &tokens, at) => {
                let name = replaced(name);
                written.extend(quote_spanned!(name.span()=> ::sagabox_sdk::#name));
            }
            other => written.extend([other.clone()]),
        }
    }
    written
}

/// `print!` ends no line; in a log it does.
fn replaced(name: &Ident) -> Ident {
    let own = match name.to_string().as_str() {
        "print" | "println" => "println",
        "eprint" | "eprintln" => "eprintln",
        _ => "dbg",
    };
    Ident::new(own, name.span())
}

/// A call by the name alone: what is called by a path is meant so.
fn is_print(name: &Ident, tokens: &[TokenTree], at: usize) -> bool {
    let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    let known = ["print", "println", "eprint", "eprintln", "dbg"].iter().any(|own| name == own);
    let is_comparison = is(at + 1, '!') && is(at + 2, '=');
    known && is(at + 1, '!') && !is_comparison && !(at > 0 && is(at - 1, ':'))
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn calls_by_name_alone_are_replaced() {
        let before = quote! {
            if a { println!("{}", dbg!(b)); eprint!("x"); std::println!("y"); }
            let dbg = println != c;
        };
        let after = quote! {
            if a {
                ::sagabox_sdk::println!("{}", ::sagabox_sdk::dbg!(b));
                ::sagabox_sdk::eprintln!("x");
                std::println!("y");
            }
            let dbg = println != c;
        };
        assert_eq!(to_log(before).to_string(), after.to_string());
    }
}
