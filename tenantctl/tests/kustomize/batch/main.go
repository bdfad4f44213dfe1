// Command kustomize-batch builds the folders that it reads on standard input, one a line, with kustomize's defaults. It answers
// each with one line of JSON. A process for each of thousands of folders would take minutes.
//
// A line that is a JSON string is a text instead. The answer is how kustomize's two YAML libraries read that text.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	yaml2 "go.yaml.in/yaml/v2"
	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// maxLine is the length of the longest line on standard input.
const maxLine = 1 << 20

// usual is the schema of a list that chooses none.
var usual = openapi.GetSchemaVersion()

type answer struct {
	Output string `json:"output"`
	Error  string `json:"error"`
}

// reading holds a text's nodes as version 3 reads them, and the errors of both versions.
type reading struct {
	Nodes  []string `json:"nodes"`
	Error2 string   `json:"error2"`
	Error3 string   `json:"error3"`
}

// anything takes every value without decoding it.
type anything struct{}

func (*anything) UnmarshalYAML(func(any) error) error { return nil }

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxLine)
	encoder := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "\"") {
			var text string
			if json.Unmarshal(lines.Bytes(), &text) != nil || encoder.Encode(read(text)) != nil {
				os.Exit(1)
			}
			continue
		}
		output, err := build(lines.Text())
		result := answer{Output: output}
		if err != nil {
			result.Error = err.Error()
		}
		if err := encoder.Encode(result); err != nil {
			os.Exit(1)
		}
	}
}

func build(folder string) (output string, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	// A folder before this one may have chosen another schema, which kustomize keeps for the whole process.
	if openapi.GetSchemaVersion() != usual {
		openapi.ResetOpenAPI()
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return "", err
	}
	text, err := resources.AsYaml()
	return string(text), err
}

func read(text string) (result reading) {
	result.Nodes = []string{}
	result.Error2 = failure(func() error { return yaml2.Unmarshal([]byte(text), &anything{}) })
	result.Error3 = failure(func() error {
		var document yaml3.Node
		err := yaml3.NewDecoder(strings.NewReader(text)).Decode(&document)
		for _, node := range document.Content {
			result.Nodes = append(result.Nodes, list(node)...)
		}
		if err != nil && err.Error() == "EOF" {
			return nil
		}
		return err
	})
	return result
}

func failure(run func() error) (message string) {
	defer func() {
		if panicked := recover(); panicked != nil {
			message = fmt.Sprintf("panic: %v", panicked)
		}
	}()
	if err := run(); err != nil {
		return err.Error()
	}
	return ""
}

// list returns one line for each node: its anchor, its tag if one is written, its kind and its value.
func list(node *yaml3.Node) []string {
	properties := ""
	if node.Anchor != "" {
		properties += "&" + node.Anchor + " "
	}
	if node.Style&yaml3.TaggedStyle != 0 {
		properties += "<" + node.Tag + "> "
	}
	switch node.Kind {
	case yaml3.AliasNode:
		return []string{"*" + node.Value}
	case yaml3.ScalarNode:
		style := "plain"
		switch {
		case node.Style&yaml3.DoubleQuotedStyle != 0:
			style = "double"
		case node.Style&yaml3.SingleQuotedStyle != 0:
			style = "single"
		case node.Style&(yaml3.LiteralStyle|yaml3.FoldedStyle) != 0:
			style = "block"
		}
		return []string{properties + style + " " + node.Value}
	}
	start, end := properties+"[", "]"
	if node.Kind == yaml3.MappingNode {
		start, end = properties+"{", "}"
	}
	lines := []string{start}
	for _, child := range node.Content {
		lines = append(lines, list(child)...)
	}
	return append(lines, end)
}
