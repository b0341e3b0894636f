//! A command as one text, split into program and arguments as a shell would, without a shell:
//! quotes and backslashes are understood, and what only a shell can do is refused.

/// Why a text is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArgv {
    /// It names no program.
    #[error("a command needs a program; write e.g. [\"wc\", \"-w\"]")]
    Empty,
    /// A quote without its end.
    #[error("the quote {quote} in {text:?} has no end")]
    OpenQuote {
        /// The whole text.
        text: String,
        /// `'` or `"`.
        quote: char,
    },
    /// A backslash at the end.
    #[error("{0:?} ends in a backslash")]
    OpenEscape(String),
    /// A character that a shell would act on, outside quotes.
    #[error(
        "{found:?} in {text:?} means something to a shell, and no shell is run; quote it, or write [\"sh\", \"-c\", {text:?}]"
    )]
    NeedsShell {
        /// The whole text.
        text: String,
        /// The character.
        found: char,
    },
    /// A zero byte, which no argument can hold.
    #[error("a command must not contain a zero byte")]
    ZeroByte,
}

/// Splits a command. Words are separated by blanks; `'...'` is literal; in `"..."` a backslash
/// escapes `"`, `\`, `$` and a backquote; elsewhere it escapes any character.
///
/// # Errors
/// [`InvalidArgv`] says what to write.
pub fn argv(text: &str) -> Result<Vec<String>, InvalidArgv> {
    if text.contains('\0') {
        return Err(InvalidArgv::ZeroByte);
    }
    let needs_shell = |found| InvalidArgv::NeedsShell { text: text.into(), found };
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(InvalidArgv::OpenQuote { text: text.into(), quote: '\'' }),
                    }
                }
            }
            '"' => quoted(&mut chars, word.get_or_insert_default(), text)?,
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(InvalidArgv::OpenEscape(text.into())),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' => return Err(needs_shell(c)),
            '#' | '~' if word.is_none() => return Err(needs_shell(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) { Err(InvalidArgv::Empty) } else { Ok(words) }
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String, text: &str) -> Result<(), InvalidArgv> {
    let open = || InvalidArgv::OpenQuote { text: text.into(), quote: '"' };
    loop {
        match chars.next().ok_or_else(open)? {
            '"' => return Ok(()),
            '\\' => match chars.next().ok_or_else(open)? {
                c @ ('"' | '\\' | '$' | '`') => word.push(c),
                c => word.extend(['\\', c]),
            },
            found @ ('$' | '`') => return Err(InvalidArgv::NeedsShell { text: text.into(), found }),
            c => word.push(c),
        }
    }
}
