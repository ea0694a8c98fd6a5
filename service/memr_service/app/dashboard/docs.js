/** The page of the HTTP API: Swagger UI over this server's openapi.json. Nothing comes from another host. */

window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
