//! Events of a text: the nodes of its documents, one after the other.
//!
//! The parser owns the grammar of tokens and the handles of tags. It keeps its state in a list, so no text overflows the stack.

use crate::scanner::{Mark, Scanner, TokenKind as T};
use crate::{Error, Style, Version};

/// Kind of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum EventKind {
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    Alias(String),
    Scalar {
        properties: Properties,
        value: String,
        style: Style,
    },
    ListStart(Properties),
    ListEnd,
    MapStart(Properties),
    MapEnd,
}

/// A part of a text, with its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub mark: Mark,
}

/// The anchor and the tag of a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Properties {
    pub anchor: Option<String>,
    /// With the prefix of its handle, for example `tag:yaml.org,2002:str`.
    pub tag: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    StreamStart,
    FirstDocument,
    Document,
    DocumentContent,
    BlockNode,
    DocumentEnd,
    BlockListEntry,
    IndentlessListEntry,
    BlockMapKey,
    BlockMapValue,
    FlowListFirst,
    FlowListEntry,
    FlowListKey,
    FlowListValue,
    FlowListMapEnd,
    FlowMapFirst,
    FlowMapKey,
    FlowMapValue,
    FlowMapNoValue,
}

/// Where a node is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Block,
    /// In a block, where a list need not be indented.
    BlockOrIndentlessList,
    Flow,
}

/// The events of a text.
pub struct Events<'t> {
    scanner: Scanner<'t>,
    state: State,
    /// The states to return to.
    states: Vec<State>,
    /// Handles of tags, each with its prefix.
    handles: Vec<(String, String)>,
}

impl<'t> Events<'t> {
    pub fn new(text: &'t str, version: Version) -> Self {
        Self {
            scanner: Scanner::new(text, version),
            state: State::StreamStart,
            states: Vec::new(),
            handles: Vec::new(),
        }
    }

    /// Returns the next event. Behind an error there is none.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        match self.state {
            State::StreamStart => {
                self.scanner.take()?;
                self.state = State::FirstDocument;
                self.document_start(true)
            }
            State::FirstDocument => self.document_start(true),
            State::Document => self.document_start(false),
            State::DocumentContent => match self.peek()? {
                T::Directive { .. }
                | T::TagDirective { .. }
                | T::DocumentStart
                | T::DocumentEnd
                | T::StreamEnd => {
                    self.state = self.return_state();
                    self.empty()
                }
                _ => self.node(Context::Block),
            },
            State::BlockNode => self.node(Context::Block),
            State::DocumentEnd => {
                let mark = self.mark()?;
                if *self.peek()? == T::DocumentEnd {
                    self.scanner.take()?;
                }
                self.handles.clear();
                self.state = State::Document;
                Ok(EventKind::DocumentEnd.at(mark))
            }
            State::BlockListEntry => self.block_list_entry(),
            State::IndentlessListEntry => self.indentless_list_entry(),
            State::BlockMapKey => self.block_map_key(),
            State::BlockMapValue => self.block_map_value(),
            State::FlowListFirst => self.flow_list_entry(true),
            State::FlowListEntry => self.flow_list_entry(false),
            State::FlowListKey => self.flow_list_key(),
            State::FlowListValue => self.flow_list_value(),
            State::FlowListMapEnd => {
                self.state = State::FlowListEntry;
                Ok(EventKind::MapEnd.at(self.mark()?))
            }
            State::FlowMapFirst => self.flow_map_key(true),
            State::FlowMapKey => self.flow_map_key(false),
            State::FlowMapValue => self.flow_map_value(),
            State::FlowMapNoValue => self.empty_then(State::FlowMapKey),
        }
    }

    fn peek(&mut self) -> Result<&T, Error> {
        self.scanner.peek().map(|token| &token.kind)
    }

    /// Returns the place of the next token.
    fn mark(&mut self) -> Result<Mark, Error> {
        self.scanner.peek().map(|token| token.start)
    }

    fn error<O>(&mut self, message: &str) -> Result<O, Error> {
        Err(self.mark()?.error(message))
    }

    fn return_state(&mut self) -> State {
        self.states.pop().unwrap_or(State::Document)
    }

    fn empty(&mut self) -> Result<Event, Error> {
        Ok(Properties::default().empty_scalar(self.mark()?))
    }

    fn empty_then(&mut self, state: State) -> Result<Event, Error> {
        self.state = state;
        self.empty()
    }

    /// Reads a node, and continues with a state.
    fn node_then(&mut self, context: Context, state: State) -> Result<Event, Error> {
        self.states.push(state);
        self.node(context)
    }

    fn document_start(&mut self, is_first: bool) -> Result<Event, Error> {
        while !is_first && *self.peek()? == T::DocumentEnd {
            self.scanner.take()?;
        }
        let mark = self.mark()?;
        match self.peek()? {
            T::StreamEnd => return Ok(EventKind::StreamEnd.at(mark)),
            T::Directive { .. } | T::TagDirective { .. } | T::DocumentStart => {
                self.directives()?;
                if *self.peek()? != T::DocumentStart {
                    return self.error("a `---` is missing behind the lines that begin with %");
                }
                self.scanner.take()?;
                self.state = State::DocumentContent;
            }
            _ if is_first => {
                self.directives()?;
                self.state = State::BlockNode;
            }
            _ => return self.error("the next document needs a line `---` before it"),
        }
        self.states.push(State::DocumentEnd);
        Ok(EventKind::DocumentStart.at(mark))
    }

    fn directives(&mut self) -> Result<(), Error> {
        let mut has_version = false;
        while matches!(self.peek()?, T::Directive { .. } | T::TagDirective { .. }) {
            let token = self.scanner.take()?;
            match token.kind {
                T::Directive { .. } if has_version => {
                    return Err(token.start.error("a second %YAML line: remove it"));
                }
                T::Directive { major: 1, minor: 1 } => has_version = true,
                T::TagDirective { handle, prefix } => {
                    if self.handles.iter().any(|(other, _)| *other == handle) {
                        return Err(token
                            .start
                            .error("a second %TAG line of its handle: remove it"));
                    }
                    self.handles.push((handle, prefix));
                }
                _ => {
                    let message = "kustomize reads YAML 1.1 alone: remove the %YAML line";
                    return Err(token.start.error(message));
                }
            }
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.handles.iter().any(|(other, _)| other == handle) {
                self.handles.push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    fn node(&mut self, context: Context) -> Result<Event, Error> {
        let mark = self.mark()?;
        if let T::Alias(_) = self.peek()? {
            self.state = self.return_state();
            let T::Alias(name) = self.scanner.take()?.kind else {
                return self.error("an alias is missing");
            };
            return Ok(EventKind::Alias(name).at(mark));
        }
        let properties = self.properties()?;
        let (kind, state) = match self.peek()? {
            T::BlockEntry if context == Context::BlockOrIndentlessList => {
                (EventKind::ListStart(properties), State::IndentlessListEntry)
            }
            T::Scalar { .. } => {
                self.state = self.return_state();
                let T::Scalar { value, style } = self.scanner.take()?.kind else {
                    return self.error("a value is missing");
                };
                let kind = EventKind::Scalar {
                    properties,
                    value,
                    style,
                };
                return Ok(kind.at(mark));
            }
            T::FlowSequenceStart => (EventKind::ListStart(properties), State::FlowListFirst),
            T::FlowMappingStart => (EventKind::MapStart(properties), State::FlowMapFirst),
            T::BlockSequenceStart if context != Context::Flow => {
                (EventKind::ListStart(properties), State::BlockListEntry)
            }
            T::BlockMappingStart if context != Context::Flow => {
                (EventKind::MapStart(properties), State::BlockMapKey)
            }
            _ if properties != Properties::default() => {
                self.state = self.return_state();
                return Ok(properties.empty_scalar(mark));
            }
            _ => return self.error("a value is missing: add it, or put the text in quotes"),
        };
        // The token that begins a list without indentation is its first entry.
        if !matches!(state, State::IndentlessListEntry) {
            self.scanner.take()?;
        }
        self.state = state;
        Ok(kind.at(mark))
    }

    /// Reads an anchor and a tag, in either order.
    fn properties(&mut self) -> Result<Properties, Error> {
        let mut properties = Properties::default();
        loop {
            match self.peek()? {
                T::Anchor(_) if properties.anchor.is_none() => {
                    if let T::Anchor(name) = self.scanner.take()?.kind {
                        properties.anchor = Some(name);
                    }
                }
                T::Tag { .. } if properties.tag.is_none() => {
                    let token = self.scanner.take()?;
                    if let T::Tag { handle, suffix } = token.kind {
                        let tag = self.full_tag(&handle, suffix);
                        properties.tag = Some(tag.ok_or_else(|| {
                            token
                                .start
                                .error("a tag with a handle that no %TAG line has")
                        })?);
                    }
                }
                _ => return Ok(properties),
            }
        }
    }

    /// Returns a tag with the prefix of its handle; `None` if no tag remains.
    fn full_tag(&self, handle: &str, suffix: String) -> Option<String> {
        if handle.is_empty() {
            return Some(suffix);
        }
        let (_, prefix) = self.handles.iter().find(|(other, _)| other == handle)?;
        Some(format!("{prefix}{suffix}")).filter(|tag| !tag.is_empty())
    }

    fn block_list_entry(&mut self) -> Result<Event, Error> {
        let mark = self.mark()?;
        match self.peek()? {
            T::BlockEntry => {
                self.scanner.take()?;
                match self.peek()? {
                    T::BlockEntry | T::BlockEnd => self.empty_then(State::BlockListEntry),
                    _ => self.node_then(Context::Block, State::BlockListEntry),
                }
            }
            T::BlockEnd => self.end(EventKind::ListEnd, mark),
            _ => self.error("not an entry of the list above: begin it with `- `, or indent it"),
        }
    }

    fn indentless_list_entry(&mut self) -> Result<Event, Error> {
        if *self.peek()? != T::BlockEntry {
            self.state = self.return_state();
            return Ok(EventKind::ListEnd.at(self.mark()?));
        }
        self.scanner.take()?;
        match self.peek()? {
            T::BlockEntry | T::Key | T::Value | T::BlockEnd => {
                self.empty_then(State::IndentlessListEntry)
            }
            _ => self.node_then(Context::Block, State::IndentlessListEntry),
        }
    }

    fn block_map_key(&mut self) -> Result<Event, Error> {
        let mark = self.mark()?;
        match self.peek()? {
            T::Key => {
                self.scanner.take()?;
                match self.peek()? {
                    T::Key | T::Value | T::BlockEnd => self.empty_then(State::BlockMapValue),
                    _ => self.node_then(Context::BlockOrIndentlessList, State::BlockMapValue),
                }
            }
            T::BlockEnd => self.end(EventKind::MapEnd, mark),
            _ => self.error("not a key of the map above: write `key: value`, or indent it"),
        }
    }

    fn block_map_value(&mut self) -> Result<Event, Error> {
        if *self.peek()? != T::Value {
            return self.empty_then(State::BlockMapKey);
        }
        self.scanner.take()?;
        match self.peek()? {
            T::Key | T::Value | T::BlockEnd => self.empty_then(State::BlockMapKey),
            _ => self.node_then(Context::BlockOrIndentlessList, State::BlockMapKey),
        }
    }

    /// Takes the token that ends a collection.
    fn end(&mut self, kind: EventKind, mark: Mark) -> Result<Event, Error> {
        self.scanner.take()?;
        self.state = self.return_state();
        Ok(kind.at(mark))
    }

    /// Takes the comma before an entry that is not the first.
    fn comma(&mut self, is_first: bool, end: &T, message: &str) -> Result<(), Error> {
        let next = self.peek()?;
        if is_first || next == end {
            return Ok(());
        }
        if *next != T::FlowEntry {
            return self.error(message);
        }
        self.scanner.take().map(drop)
    }

    fn flow_list_entry(&mut self, is_first: bool) -> Result<Event, Error> {
        const MESSAGE: &str = "a `,` or a `]` is missing: add it, or put the text in quotes";
        self.comma(is_first, &T::FlowSequenceEnd, MESSAGE)?;
        let mark = self.mark()?;
        match self.peek()? {
            T::Key => {
                self.scanner.take()?;
                self.state = State::FlowListKey;
                Ok(EventKind::MapStart(Properties::default()).at(mark))
            }
            T::FlowSequenceEnd => self.end(EventKind::ListEnd, mark),
            _ => self.node_then(Context::Flow, State::FlowListEntry),
        }
    }

    fn flow_list_key(&mut self) -> Result<Event, Error> {
        match self.peek()? {
            T::Value | T::FlowEntry | T::FlowSequenceEnd => {
                // As in go-yaml and libyaml, this token is lost.
                let token = self.scanner.take()?;
                self.state = State::FlowListValue;
                Ok(Properties::default().empty_scalar(token.start))
            }
            _ => self.node_then(Context::Flow, State::FlowListValue),
        }
    }

    fn flow_list_value(&mut self) -> Result<Event, Error> {
        if *self.peek()? == T::Value {
            self.scanner.take()?;
            if !matches!(self.peek()?, T::FlowEntry | T::FlowSequenceEnd) {
                return self.node_then(Context::Flow, State::FlowListMapEnd);
            }
        }
        self.empty_then(State::FlowListMapEnd)
    }

    fn flow_map_key(&mut self, is_first: bool) -> Result<Event, Error> {
        const MESSAGE: &str = "a `,` or a `}` is missing: add it, or put the text in quotes";
        self.comma(is_first, &T::FlowMappingEnd, MESSAGE)?;
        let mark = self.mark()?;
        match self.peek()? {
            T::Key => {
                self.scanner.take()?;
                match self.peek()? {
                    T::Value | T::FlowEntry | T::FlowMappingEnd => {
                        self.empty_then(State::FlowMapValue)
                    }
                    _ => self.node_then(Context::Flow, State::FlowMapValue),
                }
            }
            T::FlowMappingEnd => self.end(EventKind::MapEnd, mark),
            _ => self.node_then(Context::Flow, State::FlowMapNoValue),
        }
    }

    fn flow_map_value(&mut self) -> Result<Event, Error> {
        if *self.peek()? == T::Value {
            self.scanner.take()?;
            if !matches!(self.peek()?, T::FlowEntry | T::FlowMappingEnd) {
                return self.node_then(Context::Flow, State::FlowMapKey);
            }
        }
        self.empty_then(State::FlowMapKey)
    }
}

impl EventKind {
    const fn at(self, mark: Mark) -> Event {
        Event { kind: self, mark }
    }
}

impl Properties {
    const fn empty_scalar(self, mark: Mark) -> Event {
        let kind = EventKind::Scalar {
            properties: self,
            value: String::new(),
            style: Style::Plain,
        };
        kind.at(mark)
    }
}
