//! A procedural macro: a library that the compiler loads while it runs.
use proc_macro::{TokenStream, TokenTree};

#[proc_macro_derive(Name)]
pub fn name(input: TokenStream) -> TokenStream {
    let mut words = input.into_iter().filter_map(|t| match t {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    });
    let name = words.by_ref().skip_while(|w| w != "struct").nth(1).unwrap();
    format!("impl {name} {{ pub fn name() -> &'static str {{ \"{name}\" }} }}").parse().unwrap()
}
