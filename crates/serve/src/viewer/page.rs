//! `/`: one page in one file, and the policy that lets nothing else run in it.

use std::io;

use crate::guard::Token;

const PAGE: &str = include_str!("page.html");

/// The page, and its content security policy. `control` is the token it may use, empty when the user must give it.
///
/// # Errors
/// When the system has no randomness for the nonce.
pub(super) fn page(control: &str) -> io::Result<(String, String)> {
    let nonce = Token::random()?;
    let nonce = nonce.as_str();
    let html = PAGE.replace("{{nonce}}", nonce).replace("{{control}}", control);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; media-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    Ok((html, policy))
}
