# The images of hub and operator: `docker build --target hub .` and `docker build --target operator .`
# Without a registry, a folder with the two static programs and ca-certificates.crt takes the place of the stage `build`:
# `buildah build --build-context build=FOLDER --target hub .`
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# The target is named so that the flag does not reach procedural macros, which cannot be static.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" -p mcphub-hub -p mcphub-operator \
 && cp "target/$target/release/mcp-hub" "target/$target/release/mcphub-operator" /etc/ssl/certs/ca-certificates.crt /

FROM scratch AS hub
COPY --from=build /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /mcp-hub /mcp-hub
USER 65532:65532
ENTRYPOINT ["/mcp-hub"]

FROM scratch AS operator
COPY --from=build /ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /mcphub-operator /mcphub-operator
USER 65532:65532
ENTRYPOINT ["/mcphub-operator"]
