{{/* The image of a part of the project. Takes the root and the name: api, worker or store. */}}
{{- define "archetype.image" -}}
{{- $images := (index . 0).Values.images -}}
{{- $name := index . 1 -}}
{{- $tag := $images.tag | default (index . 0).Chart.AppVersion -}}
{{- if $images.registry }}{{ trimAll "/" $images.registry }}/{{ end -}}
archetype-{{ $name }}:{{ $tag }}{{ if eq $name "worker" }}{{ $images.workerSuffix }}{{ end }}
{{- end -}}

{{/* The environment variables of all parts. */}}
{{- define "archetype.settings" -}}
{{- if gt (int .Values.api.minReplicas) (int .Values.api.maxReplicas) -}}
{{- fail "api.minReplicas is larger than api.maxReplicas" -}}
{{- end -}}
{{- $backing := ternary (dict "s3_endpoint" "http://store:9000") dict .Values.backing.enabled -}}
{{- $fixed := dict "liveness_dir" "/tmp/liveness" -}}
{{- range $name, $value := merge (deepCopy .Values.settings) $backing $fixed }}
{{- if not (kindIs "invalid" $value) }}
ARCHETYPE_{{ upper $name }}: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The ports outside of the cluster that pods may connect to: those of network.ports, and those of the URLs in the settings. */}}
{{- define "archetype.ports" -}}
{{- $ports := list -}}
{{- range .Values.network.ports }}{{ $ports = append $ports (toString .) }}{{ end -}}
{{- $default := dict "http" "80" "https" "443" -}}
{{- range $name := list "s3_endpoint" "oidc_issuer" "oidc_jwks" "mlflow_url" "otlp_endpoint" -}}
{{- with index $.Values.settings $name -}}
{{- $url := urlParse . -}}
{{- if not (hasKey $default $url.scheme) -}}
{{- fail (printf "settings.%s is %q; it must begin with http:// or https://" $name .) -}}
{{- end -}}
{{- $named := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $ports = append $ports ($named | default (index $default $url.scheme)) -}}
{{- end -}}
{{- end -}}
{{- range $port := uniq $ports }}
- port: {{ $port }}
  protocol: TCP
{{- end }}
{{- end -}}
