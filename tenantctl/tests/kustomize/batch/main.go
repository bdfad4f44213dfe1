// Command kustomize-batch builds the folders that it reads on standard input, one a line, with kustomize's defaults. It answers
// each with one line of JSON. A process for each of thousands of folders would take minutes.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

type answer struct {
	Output string `json:"output"`
	Error  string `json:"error"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	encoder := json.NewEncoder(os.Stdout)
	for lines.Scan() {
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
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return "", err
	}
	text, err := resources.AsYaml()
	return string(text), err
}
