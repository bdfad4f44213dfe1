// Package ext stands in for Traefik's module of the same path, which has no place in the module proxy: it adds nothing.
package ext

// HTTP adds nothing to Traefik's HTTP configuration.
type HTTP struct{}

// Router adds nothing to Traefik's routers.
type Router struct{}
