//! Tokens of a text.
//!
//! The scanner owns characters, indentation and simple keys. The two versions of go-yaml differ in the tokens that they scan
//! ahead, and version 3 looks for comments behind each token.

use std::collections::{HashMap, VecDeque};

use crate::{Error, Style, Version};

/// Bytes that go-yaml decodes at once. Its check for byte order marks depends on this number.
const CHUNK: usize = 512;
/// Characters that version 3 searches for a comment.
const COMMENT_SEARCH: usize = 512;
/// Characters that a key without `? ` may have.
pub const SIMPLE_KEY: usize = 1024;
const MAX_LEVELS: usize = 10_000;
/// Digits of a number in a `%YAML` line.
const MAX_DIGITS: usize = 2;
/// Character that go-yaml reads behind the text.
const END: char = '\0';
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A place in the text; all numbers are from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    index: usize,
    pub line: usize,
    pub column: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenKind {
    StreamStart,
    StreamEnd,
    Directive { major: u8, minor: u8 },
    TagDirective { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag { handle: String, suffix: String },
    Scalar { value: String, style: Style },
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: Mark,
}

/// A place where a key without `? ` may have begun.
#[derive(Debug, Clone, Copy, Default)]
struct SimpleKey {
    is_possible: bool,
    is_required: bool,
    token: usize,
    mark: Mark,
}

/// The characters of a text, decoded in chunks.
struct Reader<'t> {
    text: &'t str,
    characters: Vec<char>,
    /// The next character.
    at: usize,
    /// The first character of the buffer. It moves to the next character whenever a chunk is decoded.
    buffer: usize,
    /// Characters decoded and not read, with those that stand for the end.
    unread: usize,
    /// Bytes read and bytes decoded.
    read: usize,
    decoded: usize,
    is_end: bool,
}

pub(crate) struct Scanner<'t> {
    reader: Reader<'t>,
    version: Version,
    mark: Mark,
    /// Line breaks behind the last character that is not blank.
    newlines: usize,
    tokens: VecDeque<Token>,
    /// Tokens taken.
    taken: usize,
    is_peeked: bool,
    indent: isize,
    indents: Vec<isize>,
    allows_simple_key: bool,
    /// One of each flow level, and one of the blocks around.
    simple_keys: Vec<SimpleKey>,
    /// Index of the simple key that begins at a token.
    key_at: HashMap<usize, usize>,
}

const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

const fn is_break(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

const fn is_break_or_end(character: char) -> bool {
    is_break(character) || character == END
}

const fn is_blank_or_end(character: char) -> bool {
    is_blank(character) || is_break_or_end(character)
}

const fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// Whether a text may contain a character unescaped.
pub const fn is_readable(character: char) -> bool {
    matches!(
        character,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..
    )
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let mark = text.starts_with(BYTE_ORDER_MARK);
        Self {
            text,
            characters: Vec::new(),
            at: 0,
            buffer: 0,
            unread: 0,
            read: 0,
            decoded: if mark { BYTE_ORDER_MARK.len_utf8() } else { 0 },
            is_end: false,
        }
    }

    fn get(&self, offset: usize) -> char {
        let at = self.at + offset;
        self.characters.get(at).copied().unwrap_or(END)
    }

    /// Decodes until some characters are there, or the end.
    #[inline]
    fn need(&mut self, count: usize) -> Result<(), Error> {
        if self.unread >= count {
            return Ok(());
        }
        self.fill(count)
    }

    fn fill(&mut self, count: usize) -> Result<(), Error> {
        self.buffer = self.at;
        while self.unread < count {
            self.decode()?;
            if self.is_end {
                self.unread += 1;
                return Ok(());
            }
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<(), Error> {
        self.is_end = self.read == self.text.len();
        // The first chunk has the byte order mark. Later ones begin with the bytes of an incomplete character.
        let incomplete = if self.read == 0 {
            0
        } else {
            self.read - self.decoded
        };
        self.read = self.text.len().min(self.read + CHUNK - incomplete);
        let mut end = self.read;
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        for (at, character) in self.text[self.decoded.min(end)..end].char_indices() {
            if !is_readable(character) {
                let before = &self.text[..self.decoded + at];
                let start = before.rfind('\n').map_or(0, |at| at + 1);
                return Err(Error {
                    line: before.matches('\n').count() + 1,
                    column: before[start..].chars().count() + 1,
                    message: "a control character: remove it".to_owned(),
                });
            }
            self.characters.push(character);
            self.unread += 1;
        }
        self.decoded = self.decoded.max(end);
        Ok(())
    }
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str, version: Version) -> Self {
        Self {
            reader: Reader::new(text),
            version,
            mark: Mark::default(),
            newlines: 0,
            tokens: VecDeque::new(),
            taken: 0,
            is_peeked: false,
            indent: -1,
            indents: Vec::new(),
            allows_simple_key: true,
            simple_keys: Vec::new(),
            key_at: HashMap::new(),
        }
    }

    /// Returns the next token, without taking it.
    pub(crate) fn peek(&mut self) -> Result<&Token, Error> {
        if !self.is_peeked {
            self.fetch_more()?;
            self.is_peeked = true;
        }
        Ok(&self.tokens[0])
    }

    pub(crate) fn take(&mut self) -> Result<Token, Error> {
        self.peek()?;
        self.is_peeked = false;
        self.taken += 1;
        Ok(self.tokens.pop_front().expect("peeked"))
    }

    fn error<T>(&self, message: &str) -> Result<T, Error> {
        Err(self.mark.error(message))
    }

    fn get(&self) -> char {
        self.reader.get(0)
    }

    /// Returns the next character, decoded.
    fn look(&mut self) -> Result<char, Error> {
        self.reader.need(1)?;
        Ok(self.get())
    }

    fn advance(&mut self, is_newline: bool) {
        self.reader.at += 1;
        self.reader.unread = self.reader.unread.saturating_sub(1);
        self.mark.index += 1;
        if is_newline {
            self.newlines += 1;
            self.mark.line += 1;
            self.mark.column = 0;
        } else {
            self.mark.column += 1;
        }
    }

    /// Moves over a character that is no line break.
    fn skip(&mut self) -> char {
        let character = self.get();
        if !is_blank(character) {
            self.newlines = 0;
        }
        self.advance(false);
        character
    }

    /// Moves over a line break, if there is one, and returns what it means in a scalar.
    fn line_break(&mut self) -> Result<Option<char>, Error> {
        self.reader.need(2)?;
        let character = self.get();
        if !is_break(character) {
            return Ok(None);
        }
        if character == '\r' && self.reader.get(1) == '\n' {
            self.advance(false);
        }
        self.advance(true);
        Ok(Some(match character {
            '\u{2028}' | '\u{2029}' => character,
            _ => '\n',
        }))
    }

    fn skip_while(&mut self, accepts: impl Fn(char) -> bool) -> Result<(), Error> {
        while accepts(self.look()?) {
            self.skip();
        }
        Ok(())
    }

    fn read_while(&mut self, accepts: impl Fn(char) -> bool) -> Result<String, Error> {
        let mut read = String::new();
        while accepts(self.look()?) {
            read.push(self.skip());
        }
        Ok(read)
    }

    const fn flow_level(&self) -> usize {
        self.simple_keys.len().saturating_sub(1)
    }

    fn push(&mut self, kind: TokenKind, start: Mark) {
        self.tokens.push_back(Token { kind, start });
    }

    fn fetch_more(&mut self) -> Result<(), Error> {
        let ahead = match self.version {
            Version::V2 => 1,
            Version::V3 => 3,
        };
        loop {
            if self.tokens.len() >= ahead {
                // The next token waits while it may be a key.
                match self.key_at.get(&self.taken).copied() {
                    Some(key) if self.is_valid(key)? => {}
                    _ => return Ok(()),
                }
            }
            self.fetch()?;
        }
    }

    fn fetch(&mut self) -> Result<(), Error> {
        self.look()?;
        if self.simple_keys.is_empty() {
            self.simple_keys.push(SimpleKey::default());
            self.push(TokenKind::StreamStart, self.mark);
            return Ok(());
        }
        self.skip_to_next_token()?;
        self.unroll(isize::try_from(self.mark.column).unwrap_or(isize::MAX));
        self.reader.need(4)?;
        let start = self.mark;
        match self.get() {
            END => return self.fetch_end(),
            '%' if start.column == 0 => {
                self.end_block()?;
                let kind = self.directive()?;
                self.push(kind, start);
                return Ok(());
            }
            '-' if self.is_document_indicator() => {
                return self.fetch_indicator(TokenKind::DocumentStart);
            }
            '.' if self.is_document_indicator() => {
                return self.fetch_indicator(TokenKind::DocumentEnd);
            }
            _ => {}
        }
        self.fetch_content()?;
        let is_entry =
            matches!(self.tokens.back(), Some(token) if token.kind == TokenKind::BlockEntry);
        if self.version == Version::V3 && !is_entry {
            self.comment_behind()?;
        }
        Ok(())
    }

    fn fetch_content(&mut self) -> Result<(), Error> {
        let start = self.mark;
        let (character, next) = (self.get(), self.reader.get(1));
        let is_flow = self.flow_level() > 0;
        match character {
            '[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            '{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            ']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            '}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            ',' => {
                self.remove_simple_key()?;
                self.allows_simple_key = true;
                self.skip();
                self.push(TokenKind::FlowEntry, start);
                Ok(())
            }
            '-' if is_blank_or_end(next) => self.fetch_block_entry(),
            '?' if is_flow || is_blank_or_end(next) => self.fetch_key(),
            ':' if is_flow || is_blank_or_end(next) => self.fetch_value(),
            '*' | '&' | '!' => {
                self.save_simple_key()?;
                self.allows_simple_key = false;
                let kind = match character {
                    '*' => TokenKind::Alias(self.anchor()?),
                    '&' => TokenKind::Anchor(self.anchor()?),
                    _ => self.tag()?,
                };
                self.push(kind, start);
                Ok(())
            }
            '|' | '>' if !is_flow => {
                self.remove_simple_key()?;
                self.allows_simple_key = true;
                let value = self.block_scalar(character == '|')?;
                let style = Style::Block;
                self.push(TokenKind::Scalar { value, style }, start);
                Ok(())
            }
            '\'' | '"' => {
                self.save_simple_key()?;
                self.allows_simple_key = false;
                let value = self.quoted_scalar(character)?;
                let style = if character == '"' {
                    Style::Double
                } else {
                    Style::Single
                };
                self.push(TokenKind::Scalar { value, style }, start);
                Ok(())
            }
            _ if self.begins_plain_scalar(character, next) => {
                self.save_simple_key()?;
                self.allows_simple_key = false;
                let value = self.plain_scalar()?;
                let style = Style::Plain;
                self.push(TokenKind::Scalar { value, style }, start);
                Ok(())
            }
            '\t' => self.error("a tab in the indentation: use spaces"),
            _ => self.error(&format!(
                "no value may begin with `{character}`: put it in quotes"
            )),
        }
    }

    fn begins_plain_scalar(&self, character: char, next: char) -> bool {
        match character {
            '-' => !is_blank(next),
            '?' | ':' => self.flow_level() == 0 && !is_blank_or_end(next),
            ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
            | '@' | '`' => false,
            _ => !is_blank_or_end(character),
        }
    }

    fn is_document_indicator(&self) -> bool {
        let get = |offset| self.reader.get(offset);
        self.mark.column == 0
            && matches!((get(0), get(1), get(2)), ('-', '-', '-') | ('.', '.', '.'))
            && is_blank_or_end(get(3))
    }

    fn is_valid(&mut self, key: usize) -> Result<bool, Error> {
        let mark = self.mark;
        let Some(key) = self.simple_keys.get_mut(key) else {
            // Here go-yaml itself ends with a panic.
            return self.error("a key that kustomize cannot read: write it in one line");
        };
        if key.is_possible
            && (key.mark.line < mark.line || key.mark.index + SIMPLE_KEY < mark.index)
        {
            key.is_possible = false;
            if key.is_required {
                return Err(key.no_value());
            }
        }
        Ok(key.is_possible)
    }

    fn save_simple_key(&mut self) -> Result<(), Error> {
        if self.allows_simple_key {
            let key = SimpleKey {
                is_possible: true,
                is_required: self.flow_level() == 0
                    && usize::try_from(self.indent) == Ok(self.mark.column),
                token: self.taken + self.tokens.len(),
                mark: self.mark,
            };
            self.remove_simple_key()?;
            let level = self.flow_level();
            self.simple_keys[level] = key;
            self.key_at.insert(key.token, level);
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), Error> {
        let level = self.flow_level();
        let key = &mut self.simple_keys[level];
        if key.is_possible {
            if key.is_required {
                return Err(key.no_value());
            }
            key.is_possible = false;
            self.key_at.remove(&key.token);
        }
        Ok(())
    }

    /// Begins a block collection at a column, with a token of a number, or at the end of the tokens.
    fn roll(&mut self, kind: TokenKind, mark: Mark, number: Option<usize>) -> Result<(), Error> {
        let column = isize::try_from(mark.column).unwrap_or(isize::MAX);
        if self.flow_level() > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_LEVELS {
            return self.error("nested too deeply");
        }
        let start = mark;
        match number {
            Some(number) => self.insert(number, Token { kind, start }),
            None => self.push(kind, start),
        }
        Ok(())
    }

    /// Inserts a token before the token of a number; at the end, if that one is taken, as go-yaml does.
    fn insert(&mut self, number: usize, token: Token) {
        let at = number.checked_sub(self.taken);
        self.tokens
            .insert(at.unwrap_or(usize::MAX).min(self.tokens.len()), token);
    }

    /// Ends the block collections that are indented more than a column.
    fn unroll(&mut self, column: isize) {
        while self.flow_level() == 0 && self.indent > column {
            self.push(TokenKind::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn end_block(&mut self) -> Result<(), Error> {
        self.unroll(-1);
        self.remove_simple_key()?;
        self.allows_simple_key = false;
        Ok(())
    }

    fn fetch_end(&mut self) -> Result<(), Error> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.end_block()?;
        self.push(TokenKind::StreamEnd, self.mark);
        Ok(())
    }

    fn fetch_indicator(&mut self, kind: TokenKind) -> Result<(), Error> {
        self.end_block()?;
        let start = self.mark;
        for _ in 0..3 {
            self.skip();
        }
        self.push(kind, start);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Result<(), Error> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey {
            token: self.taken + self.tokens.len(),
            mark: self.mark,
            ..SimpleKey::default()
        });
        if self.flow_level() > MAX_LEVELS {
            return self.error("nested too deeply");
        }
        self.allows_simple_key = true;
        let start = self.mark;
        self.skip();
        self.push(kind, start);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Result<(), Error> {
        self.remove_simple_key()?;
        if self.flow_level() > 0
            && let Some(key) = self.simple_keys.pop()
        {
            self.key_at.remove(&key.token);
        }
        self.allows_simple_key = false;
        let start = self.mark;
        self.skip();
        self.push(kind, start);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), Error> {
        let start = self.mark;
        if self.flow_level() == 0 {
            if !self.allows_simple_key {
                return self.error("a list may not begin here: write it on the next line");
            }
            self.roll(TokenKind::BlockSequenceStart, start, None)?;
        }
        self.remove_simple_key()?;
        self.allows_simple_key = true;
        self.skip();
        self.push(TokenKind::BlockEntry, start);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Error> {
        let start = self.mark;
        if self.flow_level() == 0 {
            if !self.allows_simple_key {
                return self.error("a key may not begin here: write it on the next line");
            }
            self.roll(TokenKind::BlockMappingStart, start, None)?;
        }
        self.remove_simple_key()?;
        self.allows_simple_key = self.flow_level() == 0;
        self.skip();
        self.push(TokenKind::Key, start);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Error> {
        let start = self.mark;
        let level = self.flow_level();
        if self.is_valid(level)? {
            let SimpleKey { token, mark, .. } = self.simple_keys[level];
            let kind = TokenKind::Key;
            self.insert(token, Token { kind, start: mark });
            self.roll(TokenKind::BlockMappingStart, mark, Some(token))?;
            self.simple_keys[level].is_possible = false;
            self.key_at.remove(&token);
            self.allows_simple_key = false;
        } else {
            if level == 0 {
                if !self.allows_simple_key {
                    return self.error("a `:` may not be here: put the text in quotes");
                }
                self.roll(TokenKind::BlockMappingStart, start, None)?;
            }
            self.allows_simple_key = level == 0;
        }
        self.skip();
        self.push(TokenKind::Value, start);
        Ok(())
    }

    fn skip_to_next_token(&mut self) -> Result<(), Error> {
        loop {
            self.look()?;
            // The character at the start of the buffer decides, as in go-yaml.
            let buffer = self.reader.buffer;
            if self.mark.column == 0 && self.reader.characters.get(buffer) == Some(&BYTE_ORDER_MARK)
            {
                self.skip();
            }
            let takes_tabs = self.flow_level() > 0 || !self.allows_simple_key;
            self.skip_while(|it| it == ' ' || takes_tabs && it == '\t')?;
            if self.get() == '#' {
                match self.version {
                    Version::V2 => self.skip_while(|it| !is_break_or_end(it))?,
                    Version::V3 => self.comments()?,
                }
            }
            if !is_break(self.get()) {
                return Ok(());
            }
            self.line_break()?;
            if self.flow_level() == 0 {
                self.allows_simple_key = true;
            }
        }
    }

    /// Moves over a comment some characters ahead, to the end of its line.
    fn comment(&mut self, ahead: usize) -> Result<(), Error> {
        let seen = self.mark.index + ahead;
        loop {
            let is_end = is_break_or_end(self.look()?);
            if is_end && self.mark.index >= seen {
                return Ok(());
            }
            if is_end {
                self.line_break()?;
            } else {
                self.skip();
            }
        }
    }

    /// Moves over a comment in the line of the last token, with the tabs before it.
    fn comment_behind(&mut self) -> Result<(), Error> {
        if self.newlines > 0 {
            return Ok(());
        }
        for ahead in 0..COMMENT_SEARCH {
            self.reader.need(ahead + 1)?;
            match self.reader.get(ahead) {
                ' ' | '\t' => {}
                '#' => return self.comment(ahead),
                _ => break,
            }
        }
        Ok(())
    }

    /// Moves over comments in lines of their own, with the tabs and the empty lines between them.
    fn comments(&mut self) -> Result<(), Error> {
        let mut ahead = 0;
        while ahead < COMMENT_SEARCH {
            self.reader.need(ahead + 1)?;
            match self.reader.get(ahead) {
                ' ' | '\t' | '\r' | '\n' => {}
                '#' => {
                    self.comment(ahead)?;
                    // go-yaml counts bytes, and stops inside a line break of several bytes.
                    if !self.get().is_ascii() {
                        return Ok(());
                    }
                    ahead = 0;
                }
                _ => break,
            }
            ahead += 1;
        }
        Ok(())
    }

    fn directive(&mut self) -> Result<TokenKind, Error> {
        self.skip();
        let name = self.read_while(is_word)?;
        if !is_blank_or_end(self.get()) || !matches!(name.as_str(), "YAML" | "TAG") {
            return self.error("a directive that kustomize does not know: remove the line");
        }
        self.skip_while(is_blank)?;
        let kind = if name == "YAML" {
            let major = self.version_number()?;
            if self.get() != '.' {
                return self.error("not a version of YAML: remove the %YAML line");
            }
            self.skip();
            let minor = self.version_number()?;
            TokenKind::Directive { major, minor }
        } else {
            let handle = self.tag_handle()?;
            if handle != "!" && !(handle.len() > 1 && handle.ends_with('!'))
                || !is_blank(self.look()?)
            {
                return self.error("not a handle of tags: remove the %TAG line");
            }
            self.skip_while(is_blank)?;
            let prefix = self.tag_uri("")?;
            if !is_blank_or_end(self.look()?) {
                return self.error("not a prefix of tags: remove the %TAG line");
            }
            TokenKind::TagDirective { handle, prefix }
        };
        self.skip_while(is_blank)?;
        if self.get() == '#' {
            self.skip_while(|it| !is_break_or_end(it))?;
        }
        if !is_break_or_end(self.get()) {
            return self.error("text behind a directive: remove it");
        }
        self.line_break()?;
        Ok(kind)
    }

    fn version_number(&mut self) -> Result<u8, Error> {
        let digits = self.read_while(|it| it.is_ascii_digit())?;
        match digits.parse() {
            Ok(number) if digits.len() <= MAX_DIGITS => Ok(number),
            _ => self.error("not a version of YAML: remove the %YAML line"),
        }
    }

    fn anchor(&mut self) -> Result<String, Error> {
        self.skip();
        let name = self.read_while(is_word)?;
        let next = self.get();
        let may_follow =
            is_blank_or_end(next) || matches!(next, '?' | ':' | ',' | ']' | '}' | '%' | '@' | '`');
        if name.is_empty() || !may_follow {
            return self.error(
                "not the name of an anchor: use letters and digits, or put the text in quotes",
            );
        }
        Ok(name)
    }

    fn tag(&mut self) -> Result<TokenKind, Error> {
        self.reader.need(2)?;
        let (handle, suffix) = if self.reader.get(1) == '<' {
            self.skip();
            self.skip();
            let suffix = self.tag_uri("")?;
            if self.get() != '>' {
                return self.error("a tag without its `>`: add it, or put the text in quotes");
            }
            self.skip();
            (String::new(), suffix)
        } else {
            let handle = self.tag_handle()?;
            if handle.len() > 1 && handle.ends_with('!') {
                (handle, self.tag_uri("")?)
            } else {
                match self.tag_uri(&handle)? {
                    suffix if suffix.is_empty() => (suffix, "!".to_owned()),
                    suffix => ("!".to_owned(), suffix),
                }
            }
        };
        if !is_blank_or_end(self.look()?) {
            return self
                .error("a tag ends here: write a space behind it, or put the text in quotes");
        }
        Ok(TokenKind::Tag { handle, suffix })
    }

    fn tag_handle(&mut self) -> Result<String, Error> {
        if self.look()? != '!' {
            return self.error("not a handle of tags: remove the %TAG line");
        }
        self.skip();
        let mut handle = format!("!{}", self.read_while(is_word)?);
        if self.get() == '!' {
            handle.push(self.skip());
        }
        Ok(handle)
    }

    /// Reads the characters of a tag behind a handle that is a part of them.
    fn tag_uri(&mut self, handle: &str) -> Result<String, Error> {
        let start = self.mark;
        let mut bytes = handle.as_bytes().get(1..).unwrap_or_default().to_vec();
        loop {
            match self.look()? {
                '%' => self.escaped_octets(&mut bytes)?,
                it if is_word(it) || ";/?:@&=+$,.!~*'()[]".contains(it) => {
                    bytes.extend(self.skip().to_string().as_bytes());
                }
                _ if handle.is_empty() && self.mark == start => {
                    return self.error("a tag without a name: add it, or put the text in quotes");
                }
                _ => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            }
        }
    }

    fn escaped_octets(&mut self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        const MESSAGE: &str = "not an escaped character of a tag: put the text in quotes";
        let mut left = None;
        loop {
            self.reader.need(3)?;
            let digits: String = [self.reader.get(1), self.reader.get(2)].iter().collect();
            let octet = u8::from_str_radix(&digits, 16);
            let (Ok(octet), '%', false) = (octet, self.get(), digits.contains('+')) else {
                return self.error(MESSAGE);
            };
            let width = match (left, octet) {
                (Some(left), 0x80..=0xbf) => left,
                (None, 0..0x80) => 1,
                (None, 0xc0..0xe0) => 2,
                (None, 0xe0..0xf0) => 3,
                (None, 0xf0..0xf8) => 4,
                _ => return self.error(MESSAGE),
            };
            bytes.push(octet);
            for _ in 0..3 {
                self.skip();
            }
            if width == 1 {
                return Ok(());
            }
            left = Some(width - 1);
        }
    }

    fn block_scalar(&mut self, is_literal: bool) -> Result<String, Error> {
        self.skip();
        let (mut chomping, mut increment) = (None, None);
        for _ in 0..2 {
            match self.look()? {
                sign @ ('+' | '-') if chomping.is_none() => {
                    self.skip();
                    chomping = Some(sign);
                }
                '0' if increment.is_none() => {
                    return self.error("an indentation of 0: write 1 to 9, or nothing");
                }
                digit if increment.is_none() && digit.is_ascii_digit() => {
                    self.skip();
                    increment = digit.to_digit(10);
                }
                _ => break,
            }
        }
        self.skip_while(is_blank)?;
        if self.get() == '#' {
            self.skip_while(|it| !is_break_or_end(it))?;
        }
        if !is_break_or_end(self.get()) {
            return self.error("text behind the `|` or `>` of a block: write it on the next line");
        }
        if is_break(self.get()) {
            self.line_break()?;
        }
        let around = usize::try_from(self.indent).unwrap_or(0);
        let mut indent = increment.map_or(0, |increment| around + increment as usize);
        let mut value = String::new();
        let mut first_break = None;
        let mut more_breaks = self.block_breaks(&mut indent)?;
        let mut was_blank = false;
        self.look()?;
        while self.mark.column == indent && self.get() != END {
            let is_blank_line = is_blank(self.get());
            if !is_literal && !was_blank && !is_blank_line && first_break == Some('\n') {
                if more_breaks.is_empty() {
                    value.push(' ');
                }
            } else {
                value.extend(first_break);
            }
            value.push_str(&more_breaks);
            was_blank = is_blank_line;
            value.push_str(&self.read_while(|it| !is_break_or_end(it))?);
            first_break = self.line_break()?;
            more_breaks = self.block_breaks(&mut indent)?;
        }
        if chomping != Some('-') {
            value.extend(first_break);
        }
        if chomping == Some('+') {
            value.push_str(&more_breaks);
        }
        Ok(value)
    }

    /// Moves over the indentation and the empty lines of a block scalar. The first of them set the indentation, if nothing else did.
    fn block_breaks(&mut self, indent: &mut usize) -> Result<String, Error> {
        let mut breaks = String::new();
        let mut most = 0;
        loop {
            while (*indent == 0 || self.mark.column < *indent) && self.look()? == ' ' {
                self.skip();
            }
            most = most.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.look()? == '\t' {
                return self.error("a tab in the indentation: use spaces");
            }
            if !is_break(self.look()?) {
                break;
            }
            breaks.extend(self.line_break()?);
        }
        if *indent == 0 {
            let least = usize::try_from(self.indent + 1).unwrap_or(0);
            *indent = most.max(least).max(1);
        }
        Ok(breaks)
    }

    fn quoted_scalar(&mut self, quote: char) -> Result<String, Error> {
        self.skip();
        let mut value = String::new();
        loop {
            self.reader.need(4)?;
            if self.is_document_indicator() {
                return self.error("a document ends in quotes: close the quotes");
            }
            if self.get() == END {
                return self.error("the file ends in quotes: close the quotes");
            }
            let mut was_escaped = false;
            while !is_blank_or_end(self.get()) {
                let (character, next) = (self.get(), self.reader.get(1));
                if character == quote && quote == '\'' && next == '\'' {
                    self.skip();
                    value.push(self.skip());
                } else if character == quote {
                    break;
                } else if quote == '"' && character == '\\' && is_break(next) {
                    self.reader.need(3)?;
                    self.skip();
                    self.line_break()?;
                    was_escaped = true;
                    break;
                } else if quote == '"' && character == '\\' {
                    self.skip();
                    let escaped = self.escape()?;
                    value.push(escaped);
                } else {
                    value.push(self.skip());
                }
                self.reader.need(2)?;
            }
            if self.look()? == quote {
                self.skip();
                return Ok(value);
            }
            value.push_str(&self.white_space(was_escaped, None)?.fold());
        }
    }

    /// Reads what stands behind a `\`.
    fn escape(&mut self) -> Result<char, Error> {
        let digits = match self.get() {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                let character = match other {
                    '0' => '\0',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    't' | '\t' => '\t',
                    'n' => '\n',
                    'v' => '\u{b}',
                    'f' => '\u{c}',
                    'r' => '\r',
                    'e' => '\u{1b}',
                    ' ' | '"' | '\'' | '\\' => other,
                    'N' => '\u{85}',
                    '_' => '\u{a0}',
                    'L' => '\u{2028}',
                    'P' => '\u{2029}',
                    _ => {
                        return self.error(
                            "an escape that kustomize does not know: write `\\\\` for a backslash",
                        );
                    }
                };
                self.skip();
                return Ok(character);
            }
        };
        self.skip();
        self.reader.need(digits)?;
        let text: String = (0..digits).map(|at| self.reader.get(at)).collect();
        let is_hex = text.chars().all(|it| it.is_ascii_hexdigit());
        let character = u32::from_str_radix(&text, 16).ok().and_then(char::from_u32);
        let (Some(character), true) = (character, is_hex) else {
            return self.error("not an escaped character: write its number with all digits");
        };
        for _ in 0..digits {
            self.skip();
        }
        Ok(character)
    }

    fn plain_scalar(&mut self) -> Result<String, Error> {
        let indent = usize::try_from(self.indent + 1).unwrap_or(0);
        let is_flow = self.flow_level() > 0;
        let mut value = String::new();
        let mut white = WhiteSpace::default();
        loop {
            self.reader.need(4)?;
            if self.is_document_indicator() || self.get() == '#' {
                break;
            }
            while !is_blank_or_end(self.get()) {
                let (character, next) = (self.get(), self.reader.get(1));
                if character == ':' && is_blank_or_end(next)
                    || is_flow && matches!(character, ',' | '?' | '[' | ']' | '{' | '}')
                {
                    break;
                }
                if white.has_break || !white.blanks.is_empty() {
                    value.push_str(&std::mem::take(&mut white).fold());
                }
                value.push(self.skip());
                self.reader.need(2)?;
            }
            if !is_blank(self.get()) && !is_break(self.get()) {
                break;
            }
            white = self.white_space(false, Some(indent))?;
            if !is_flow && self.mark.column < indent {
                break;
            }
        }
        if white.has_break {
            self.allows_simple_key = true;
        }
        Ok(value)
    }

    /// Moves over white space in a scalar; with an indentation, a tab in it is an error.
    fn white_space(&mut self, has_break: bool, indent: Option<usize>) -> Result<WhiteSpace, Error> {
        let mut white = WhiteSpace {
            has_break,
            ..WhiteSpace::default()
        };
        loop {
            let character = self.look()?;
            if is_blank(character) {
                let is_indent = indent.is_some_and(|indent| self.mark.column < indent);
                if white.has_break && is_indent && character == '\t' {
                    return self.error("a tab in the indentation: use spaces");
                }
                self.skip();
                if !white.has_break {
                    white.blanks.push(character);
                }
            } else if is_break(character) {
                let found = self.line_break()?;
                if white.has_break {
                    white.more_breaks.extend(found);
                } else {
                    white.first_break = found;
                    white.has_break = true;
                }
            } else {
                return Ok(white);
            }
        }
    }
}

/// White space between two words of a scalar.
#[derive(Default)]
struct WhiteSpace {
    blanks: String,
    has_break: bool,
    first_break: Option<char>,
    more_breaks: String,
}

impl WhiteSpace {
    /// Returns what the white space means: line breaks fold to a space.
    fn fold(self) -> String {
        match (self.has_break, self.first_break) {
            (false, _) => self.blanks,
            (true, Some('\n')) if self.more_breaks.is_empty() => " ".to_owned(),
            (true, Some('\n')) => self.more_breaks,
            (true, first) => first.into_iter().chain(self.more_breaks.chars()).collect(),
        }
    }
}

impl SimpleKey {
    fn no_value(&self) -> Error {
        self.mark
            .error("a key without its `:` in the same line: add it, or indent the text")
    }
}

impl Mark {
    /// Returns an error at this place.
    pub fn error(self, message: &str) -> Error {
        Error {
            line: self.line + 1,
            column: self.column + 1,
            message: message.to_owned(),
        }
    }
}
